import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { request, until } from './client.js'
import { type Cluster, startCluster } from './cluster.js'

interface Page {
  readonly items: readonly { readonly sku: string; readonly name: string }[]
  readonly next?: string
}

describe('pages that a client can make up', () => {
  let cluster: Cluster
  let node: NodeProcess
  let redis: Redis
  let token: string

  const put = async (sku: string, name: string) => {
    const body = { name, category: 'tea', priceCents: 100, currency: 'EUR' }
    const { status, headers } = await request(node, 'PUT', `/products/${sku}`, { body })
    expect(status).toBeLessThan(300)
    token = headers.get('consistency-token') ?? ''
  }
  const get = (path: string) => request<Page>(node, 'GET', path, { headers: { 'consistency-token': token } })
  const keptPages = async () => (await redis.keys('*:v*:List*')).length

  beforeAll(async () => {
    cluster = await startCluster({})
    node = cluster.nodes[0] as NodeProcess
    redis = new Redis(cluster.redis.url)
    for (const sku of ['a', 'b', 'c']) await put(sku, 'Tea')
    await request(node, 'PUT', '/feature-flags/a', { body: { enabled: true } })
  })
  afterAll(async () => {
    redis.disconnect()
    await cluster.stop()
  })

  test.each([
    '/products?after=0',
    '/products?after=a',
    '/products?limit=2',
    '/products?limit=1000&after=0x',
    '/products?category=tea&after=0',
    '/products?category=unknown',
    '/feature-flags?after=0',
    '/feature-flags?limit=99',
  ])('%s is loaded each time, and is an entry in no tier', async (path) => {
    const kept = await keptPages()
    for (const _ of [1, 2, 3]) {
      const { status, headers } = await get(path)
      expect([status, headers.get('cache-status')]).toEqual([
        200,
        path.includes('unknown') ? 'aftercommit-l1; fwd=miss' : 'aftercommit-l1; fwd=bypass',
      ])
    }
    expect(await keptPages()).toBe(kept)
  })

  test.each(['/products', '/products?limit=100', '/products?category=tea', '/feature-flags'])(
    '%s, which everybody asks for, is cached',
    async (path) => {
      await until('it is a hit', async () => {
        return (await get(path)).headers.get('cache-status') === 'aftercommit-l1; hit'
      })
    },
  )

  test('show what the token of who asks has seen, and lead from one to the next', async () => {
    await put('b', 'Green tea')
    const first = await get('/products?limit=2')
    expect(first.body.items.map(({ sku, name }) => [sku, name])).toEqual([
      ['a', 'Tea'],
      ['b', 'Green tea'],
    ])
    const second = await get(`/products?limit=2&after=${first.body.next}`)
    expect([second.body.items.map(({ sku }) => sku), second.body.next]).toEqual([['c'], undefined])
  })
})
