import type { Cluster, Mode } from './cluster.js'
import { CategoryTarget, FlagTarget, ProductTarget, UserTarget, type World } from './world.js'

const userCount = 40
const categoryNames = ['tea', 'books', 'lamps']
const productsInCategory = 6
const flagCount = 9

/** Creates the data with which the clients start, through the service itself. */
export async function seedWorld(cluster: Cluster, mode: Mode): Promise<World> {
  const base = cluster.nodes[0]?.process.url ?? ''
  const users: UserTarget[] = []
  for (let index = 0; index < userCount; index++) {
    const body = { email: `user-${index}@example.org`, name: `first ${index}` }
    const { id } = (await send('POST', `${base}/users`, body)) as { id: string }
    users.push(new UserTarget(id))
  }
  if (mode === 'naive') return { users, products: [], categories: [], flags: [] }

  const products = categoryNames.flatMap((category) =>
    Array.from(
      { length: productsInCategory },
      (_, index) => new ProductTarget(`${category}-${index}`, category),
    ),
  )
  for (const { path, category, sku } of products) {
    await send('PUT', base + path, { name: `first ${sku}`, category, priceCents: 1_000, currency: 'EUR' })
  }
  const categories = categoryNames.map(
    (name) =>
      new CategoryTarget(
        name,
        products.filter(({ category }) => category === name),
      ),
  )
  const flags = Array.from({ length: flagCount }, (_, index) => new FlagTarget(`flag-${index}`))
  for (const { path, name } of flags) {
    await send('PUT', base + path, { enabled: true, description: `first ${name}` })
  }
  return { users, products, categories, flags }
}

async function send(method: string, url: string, body: unknown): Promise<unknown> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(url, { method, headers, body: JSON.stringify(body) })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${url} answered ${answer.status}: ${text}`)
  return JSON.parse(text)
}
