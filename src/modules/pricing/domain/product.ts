import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm'
import { SoftDeletableAggregate } from '../../../kernel/domain/index.js'
import { ProductAdded, ProductChanged, ProductRemoved } from './pricing-events.js'
import { maximumPriceCents } from './values.js'

export interface ProductState {
  readonly name: string
  readonly category: string
  readonly priceCents: number
  readonly currency: string
}

// The migration creates the schema. The decorators describe it again, so that TypeORM proposes no change.
@Entity('product')
@Index('product_category_sku_idx', ['category', 'sku'], { where: '(deleted_at IS NULL)' })
@Check('product_price_cents_check', `price_cents between 0 and ${maximumPriceCents}`)
export class Product extends SoftDeletableAggregate {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'product_pkey' })
  sku!: string

  @Column('text')
  name!: string

  @Column({ type: 'text', collation: 'C' })
  category!: string

  // The driver returns a bigint as text. The highest price is far below the limit up to which a number is exact.
  @Column('bigint', { name: 'price_cents', transformer: { to: (cents: number) => cents, from: Number } })
  priceCents!: number

  @Column('text')
  currency!: string

  static add(sku: string, state: ProductState): Product {
    const product = new Product()
    product.sku = sku
    product.#add(state)
    return product
  }

  /** Replaces the whole state. A removed product is added again. */
  replace(state: ProductState): void {
    if (!this.exists) {
      this.#add(state)
      return
    }
    const { sku, category: previousCategory } = this
    if (
      state.name === this.name &&
      state.category === previousCategory &&
      state.priceCents === this.priceCents &&
      state.currency === this.currency
    )
      return
    this.#assign(state)
    this.raise(new ProductChanged({ sku, category: state.category, previousCategory }))
  }

  /** Save the product afterwards; do not remove it from its store. */
  remove(at: Date): void {
    if (!this.exists) return
    this.deletedAt = at
    this.raise(new ProductRemoved({ sku: this.sku, category: this.category }))
  }

  #add(state: ProductState): void {
    this.deletedAt = null
    this.#assign(state)
    this.raise(new ProductAdded({ sku: this.sku, category: this.category }))
  }

  #assign({ name, category, priceCents, currency }: ProductState): void {
    this.name = name
    this.category = category
    this.priceCents = priceCents
    this.currency = currency
  }
}
