import type { Observed } from './history.js'

/** Something that can be read with one GET. */
export interface Target {
  readonly path: string
  /** What an answer with this status shows; undefined if it shows nothing. */
  observe(status: number, body: string): Observed[] | undefined
}

interface UserBody {
  readonly name: string
  readonly version: number
}

interface ProductBody {
  readonly sku: string
  readonly name: string
  readonly priceCents: number
  readonly version: number
}

interface FlagBody {
  readonly description?: string
  readonly version: number
}

const absent = (key: string): Observed => ({ key, version: 0, value: '' })

export class UserTarget implements Target {
  readonly key: string
  readonly path: string

  constructor(readonly id: string) {
    this.key = `user ${id}`
    this.path = `/users/${id}`
  }

  observe(status: number, body: string): Observed[] | undefined {
    if (status === 404) return [absent(this.key)]
    if (status !== 200) return undefined
    const { name, version } = JSON.parse(body) as UserBody
    return [{ key: this.key, version, value: name }]
  }
}

const productKey = (sku: string) => `product ${sku}`
const observedProduct = ({ sku, name, priceCents, version }: ProductBody): Observed => ({
  key: productKey(sku),
  version,
  value: `${name}@${priceCents}`,
})

export class ProductTarget implements Target {
  readonly key: string
  readonly path: string

  constructor(
    readonly sku: string,
    readonly category: string,
  ) {
    this.key = productKey(sku)
    this.path = `/products/${sku}`
  }

  observe(status: number, body: string): Observed[] | undefined {
    if (status === 404) return [absent(this.key)]
    return status === 200 ? [observedProduct(JSON.parse(body) as ProductBody)] : undefined
  }
}

export class CategoryTarget implements Target {
  readonly path: string

  constructor(
    readonly name: string,
    private readonly products: readonly ProductTarget[],
  ) {
    this.path = `/products?category=${name}`
  }

  observe(status: number, body: string): Observed[] | undefined {
    if (status !== 200) return undefined
    const { items } = JSON.parse(body) as { items: ProductBody[] }
    const listed = new Map(items.map((item) => [productKey(item.sku), observedProduct(item)]))
    return this.products.map(({ key }) => listed.get(key) ?? absent(key))
  }
}

export class FlagTarget implements Target {
  readonly key: string
  readonly path: string

  constructor(readonly name: string) {
    this.key = `flag ${name}`
    this.path = `/feature-flags/${name}`
  }

  observe(status: number, body: string): Observed[] | undefined {
    if (status === 404) return [absent(this.key)]
    if (status !== 200) return undefined
    const { description = '', version } = JSON.parse(body) as FlagBody
    return [{ key: this.key, version, value: description }]
  }
}

/** Everything that the clients read and write. */
export interface World {
  readonly users: readonly UserTarget[]
  readonly products: readonly ProductTarget[]
  readonly categories: readonly CategoryTarget[]
  readonly flags: readonly FlagTarget[]
}

/** All targets that show one key. */
export function singles({ users, products, flags }: World): readonly Target[] {
  return [...users, ...products, ...flags]
}
