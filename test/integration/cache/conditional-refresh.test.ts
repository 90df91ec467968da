import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import type { Factory, LoadContext } from '../../../src/kernel/cache/load-context.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import { ask, newCacheInStep, untilExpired } from '../../support/cache-reads.js'
import { Gate } from '../../support/gate.js'
import { until } from '../../support/until.js'

interface Page {
  readonly text: string
}

/** A page over HTTP, with the validators that its origin gives it. */
class Origin {
  page = 'first'
  etag: string | undefined = '"1"'
  lastModified: string | undefined
  /** What it was asked, and how it answered. */
  requests: { ifNoneMatch: string | undefined; ifModifiedSince: string | undefined; status: number }[] = []
  /** Opened, it lets answers out that were decided before. */
  hold: Gate | undefined
  url = ''
  #server: Server | undefined

  async start(): Promise<void> {
    const server = createServer(async ({ headers }, response) => {
      const { 'if-none-match': ifNoneMatch, 'if-modified-since': ifModifiedSince } = headers
      const same =
        (this.etag !== undefined && ifNoneMatch === this.etag) ||
        (this.lastModified !== undefined && ifModifiedSince === this.lastModified)
      const status = same ? 304 : 200
      const body = same ? undefined : JSON.stringify({ text: this.page })
      if (this.etag) response.setHeader('ETag', this.etag)
      if (this.lastModified) response.setHeader('Last-Modified', this.lastModified)
      this.requests.push({ ifNoneMatch, ifModifiedSince, status })
      await this.hold?.opened
      response.writeHead(status).end(body)
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    this.url = `http://127.0.0.1:${port}/`
  }

  reset(): void {
    Object.assign(this, {
      page: 'first',
      etag: '"1"',
      lastModified: undefined,
      requests: [],
      hold: undefined,
    })
  }

  stop(): void {
    this.#server?.closeAllConnections()
    this.#server?.close()
  }
}

const origin = new Origin()
beforeAll(() => origin.start())
beforeEach(() => origin.reset())
afterAll(() => origin.stop())

/** What is shown of earlier loads, by all loads of a test. */
let shown: LoadContext<Page>['previous'][] = []
beforeEach(() => {
  shown = []
})

const fetchPage: Factory<Page> = async (context) => {
  const { previous, signal } = context
  shown.push(previous)
  const headers: Record<string, string> = {}
  if (previous?.etag) headers['If-None-Match'] = previous.etag
  if (previous?.lastModified) headers['If-Modified-Since'] = previous.lastModified
  const response = await fetch(origin.url, { signal, headers })
  if (response.status === 304) return context.notModified()
  context.validators({
    etag: response.headers.get('ETag') ?? undefined,
    lastModified: response.headers.get('Last-Modified') ?? undefined,
  })
  return (await response.json()) as Page
}

const brief = { l1TtlMs: 60, l2TtlMs: 60, failSafe: true }
const long = { entry: { l1TtlMs: 600_000, l2TtlMs: 600_000 } }

overEveryTopology('conditional refresh', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node

  test('a value past its time is asked about, kept if it still holds, and renewed', async () => {
    const [cache] = await newCacheInStep<Page>(cluster(), brief)
    const first = await cache.getOrCreate('a', fetchPage)
    await untilExpired(cache, 'a')
    const renewed = await ask(node(0), cache, 'a', fetchPage, long)
    expect(renewed).toEqual({ value: first, staleness: 'none' })
    expect(origin.requests.map(({ ifNoneMatch, status }) => [ifNoneMatch, status])).toEqual([
      [undefined, 200],
      ['"1"', 304],
    ])
    // It has a life of its own now.
    if (tiers !== 'L1 only') {
      await until(
        'L2 has it',
        async () => (await cache.get('a', { entry: { skipL1Read: true } })) !== undefined,
      )
    }
    expect(await cache.getOrCreate('a', fetchPage)).toEqual(first)
    expect(origin.requests).toHaveLength(2)
  })

  test('validators last over any number of renewals, and give way to new ones with a new value', async () => {
    const [cache] = await newCacheInStep<Page>(cluster(), brief)
    await cache.getOrCreate('a', fetchPage)
    for (let round = 0; round < 3; round++) {
      await untilExpired(cache, 'a')
      expect(await cache.getOrCreate('a', fetchPage)).toEqual({ text: 'first' })
    }
    expect(origin.requests.map(({ status }) => status)).toEqual([200, 304, 304, 304])
    Object.assign(origin, { page: 'second', etag: '"2"' })
    await untilExpired(cache, 'a')
    expect(await cache.getOrCreate('a', fetchPage)).toEqual({ text: 'second' })
    await untilExpired(cache, 'a')
    expect(await cache.getOrCreate('a', fetchPage)).toEqual({ text: 'second' })
    expect(origin.requests.slice(-2).map(({ ifNoneMatch, status }) => [ifNoneMatch, status])).toEqual([
      ['"1"', 200],
      ['"2"', 304],
    ])
  })

  test('a date of the last change serves as well', async () => {
    const lastModified = 'Tue, 24 Nov 2026 08:00:00 GMT'
    Object.assign(origin, { etag: undefined, lastModified })
    const [cache] = await newCacheInStep<Page>(cluster(), brief)
    await cache.getOrCreate('a', fetchPage)
    await untilExpired(cache, 'a')
    expect(await cache.getOrCreate('a', fetchPage)).toEqual({ text: 'first' })
    expect(origin.requests).toEqual([
      { ifNoneMatch: undefined, ifModifiedSince: undefined, status: 200 },
      { ifNoneMatch: undefined, ifModifiedSince: lastModified, status: 304 },
    ])
  })

  test('a value without validators is shown without any', async () => {
    origin.etag = undefined
    const [cache] = await newCacheInStep<Page>(cluster(), brief)
    await cache.getOrCreate('a', fetchPage)
    await untilExpired(cache, 'a')
    await cache.getOrCreate('a', fetchPage)
    expect(shown).toEqual([undefined, { value: { text: 'first' }, etag: undefined, lastModified: undefined }])
    expect(origin.requests.map(({ status }) => status)).toEqual([200, 200])
  })

  test('what was removed is not shown, on any node', async () => {
    const caches = await newCacheInStep<Page>(cluster(), brief)
    for (const cache of caches) await cache.getOrCreate('a', fetchPage)
    await caches.at(-1)!.remove('a')
    await cluster().inStep()
    shown = []
    for (const cache of caches) {
      await cache.getOrCreate('a', fetchPage)
      expect(shown[0]).toBeUndefined()
    }
  })

  test('“not modified” without anything to have been modified is a TypeError', async () => {
    const [cache] = await newCacheInStep<Page>(cluster(), brief)
    await expect(cache.getOrCreate('a', async ({ notModified }) => notModified())).rejects.toThrow(TypeError)
    expect(await cache.get('a')).toBeUndefined()
  })

  if (tiers !== 'L2 only') {
    test('an invalidated value may be asked about, and is fresh with the new load’s position', async () => {
      const caches = await newCacheInStep<Page>(cluster())
      for (const cache of caches) await cache.getOrCreate('a', fetchPage)
      await cluster().change({ keys: ['a'] }, node(-1))
      for (const cache of caches) expect(await cache.get('a')).toBeUndefined()
      const asked = origin.requests.length
      expect(await ask(node(0), caches[0], 'a', fetchPage)).toEqual({
        value: { text: 'first' },
        staleness: 'none',
      })
      expect(origin.requests.slice(asked).map(({ status }) => status)).toEqual([304])
      for (const cache of caches) await cache.getOrCreate('a', fetchPage)
      // No less fresh than a value that was transferred: the next write ends it, and nothing before does.
      expect(caches.map((cache) => cache.peek('a'))).toEqual(caches.map(() => ({ text: 'first' })))
      await cluster().change({ keys: ['b'] })
      expect(caches.map((cache) => cache.peek('a'))).toEqual(caches.map(() => ({ text: 'first' })))
      await cluster().change({ keys: ['a'] })
      expect(caches.map((cache) => cache.peek('a'))).toEqual(caches.map(() => undefined))
    })

    test('a renewed value depends on what it was made from', async () => {
      const [cache] = await newCacheInStep<Page>(cluster())
      const tag = `tag-of-${cache.name}`
      await cache.getOrCreate('a', (context) => {
        context.tag(tag)
        return fetchPage(context)
      })
      await cluster().change({ keys: ['a'] })
      await cache.getOrCreate('a', fetchPage)
      expect(origin.requests.map(({ status }) => status)).toEqual([200, 304])
      await cluster().change({ tags: [tag] })
      expect(await cache.get('a')).toBeUndefined()
    })
  }

  test('a write while the origin answers “not modified” keeps the renewed value out, on every node', async () => {
    const caches = await newCacheInStep<Page>(cluster(), { ...brief, clusterWaitMs: 60_000 })
    const [cache] = caches
    await cache.getOrCreate('a', fetchPage)
    await untilExpired(cache, 'a')
    const hold = new Gate()
    origin.hold = hold
    const renewing = cache.getOrCreate('a', fetchPage, long)
    await until('the origin has decided', () => origin.requests.at(-1)?.status === 304)
    Object.assign(origin, { page: 'second', etag: '"2"', hold: undefined })
    await cluster().change({ keys: ['a'] }, node(-1))
    const fencedBefore = cache.statistics.fenced
    hold.open()
    expect(await renewing).toEqual({ text: 'first' })
    expect(cache.statistics.fenced).toBeGreaterThan(fencedBefore)
    for (const one of caches) expect(await one.get('a')).toBeUndefined()
    for (const one of caches) expect(await one.getOrCreate('a', fetchPage, long)).toEqual({ text: 'second' })
  })

  test('a value that its callers get copies of is shown to the load as a copy', async () => {
    const [cache] = await newCacheInStep<{ at: Date }>(cluster(), brief)
    const at = new Date(0)
    await cache.getOrCreate('a', async () => ({ at }))
    await untilExpired(cache, 'a')
    const value = await cache.getOrCreate('a', async ({ previous, notModified }) => {
      previous?.value.at.setFullYear(1999)
      notModified().at.setFullYear(1998)
      return notModified()
    })
    value.at.setFullYear(1997)
    // What the load did to what it was shown, and a caller to what it was given, changed none of what is kept.
    await untilExpired(cache, 'a')
    const kept = await cache.getOrCreate('a', async ({ notModified }) => notModified())
    expect(kept.at.getTime()).toBe(0)
  })

  if (nodeCount > 1 && tiers !== 'L1 only') {
    test('validators go through L2: another node asks about the copy that it finds there past its time', async () => {
      const [first, second] = await newCacheInStep<Page>(cluster(), brief)
      await first.getOrCreate('a', fetchPage)
      await untilExpired(first, 'a')
      shown = []
      expect(await second!.getOrCreate('a', fetchPage)).toEqual({ text: 'first' })
      expect(shown).toEqual([{ value: { text: 'first' }, etag: '"1"', lastModified: undefined }])
      expect(origin.requests.map(({ status }) => status)).toEqual([200, 304])
    })
  }
})
