import { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { types } from 'node:util'
import { createContext, runInContext } from 'node:vm'
import { describe, expect, test } from '@jest/globals'
import { defaultEntryOptions } from '../../../src/kernel/cache/entry-options.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import { StructuredSerializer } from '../../../src/kernel/cache/values/structured-serializer.js'
import { Gate } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const never = () => Promise.reject(new Error('it was cached'))

/** What three reads of one key return: one load and two hits. */
async function readers<Value>(cache: HybridCache, make: () => Value): Promise<[Value, Value, Value]> {
  const load = async () => make()
  const first = await cache.getOrCreate('a', load)
  return [
    first as Value,
    (await cache.getOrCreate('a', never)) as Value,
    (await cache.getOrCreate('a', never)) as Value,
  ]
}

interface Told {
  reason: string
  tier: string
  detail?: string | undefined
}

function listen({ events }: SimulatedNode): Told[] {
  const told: Told[] = []
  events.on('notStored', ({ reason, tier, detail }) => told.push({ reason, tier, detail }))
  return told
}

class Account {
  readonly tags: string[] = []
  constructor(readonly owner: string) {}
  get greeting(): string {
    return `Hello ${this.owner}`
  }
  greet(): string {
    return this.greeting
  }
}
class Savings extends Account {
  balance = { cents: 1 }
}
class Names extends Array<string> {
  longest(): string {
    return this.reduce((one, other) => (one.length > other.length ? one : other), '')
  }
}
class Rates extends Map<string, { rate: number }> {
  source = { name: 'bank' }
}
class Ids extends Set<number> {}
/** Iterates over its values alone. */
class Shelf extends Map<string, { n: number }> {
  override [Symbol.iterator](): never {
    return this.values() as never
  }
}
class Day extends Date {
  isEpoch(): boolean {
    return this.getTime() === 0
  }
}
class Bytes extends Uint8Array {
  note = { text: 'n' }
}
class Parts extends Array<Account> {}
class Locked {
  readonly amount = 5
  constructor() {
    Object.freeze(this)
  }
}
function OldStyle(this: { list: number[] }) {
  this.list = [1]
}
OldStyle.prototype.sum = function (this: { list: number[] }) {
  return this.list.length
}
class NullBased extends (null as unknown as ObjectConstructor) {
  declare list: number[]
  static of(list: number[]): NullBased {
    return Object.assign(Object.create(NullBased.prototype), { list })
  }
}
class NamesItself {
  digits = [1, 2]
}

class Wrapped {
  list = [1]
}
const asked = () => {
  throw new Error('asked')
}
Object.defineProperty(Wrapped.prototype, 'constructor', {
  value: new Proxy(Wrapped, { getOwnPropertyDescriptor: asked }),
})

const hidden = Symbol('hidden')

describe('plain data is frozen with all its parts, and shared by all callers:', () => {
  const cyclic: { self?: unknown; list: number[] } = { list: [1] }
  cyclic.self = cyclic
  const shared = { n: 1 }
  const sparse: unknown[] = Object.assign([1], { 2: { n: 3 } })
  const deep: unknown[] = []
  for (let level = 0, at = deep; level < 20_000; level++) {
    const next: unknown[] = []
    at.push(next)
    at = next
  }

  test.each<[string, () => object, (value: never) => object]>([
    ['an object in an array', () => [{ list: [1] }], (value: [{ list: number[] }]) => value[0].list],
    [
      'a property named by a symbol',
      () => ({ [hidden]: { n: 1 } }),
      (value: { [hidden]: object }) => value[hidden],
    ],
    [
      'a property that is not enumerable',
      () => Object.defineProperty({}, 'quiet', { value: { n: 1 } }),
      (value: { quiet: object }) => value.quiet,
    ],
    [
      'a property of an array',
      () => Object.assign([1], { note: { n: 1 } }),
      (value: { note: object }) => value.note,
    ],
    [
      'an object without a prototype',
      () => Object.assign(Object.create(null), { a: { n: 1 } }),
      (value: { a: object }) => value.a,
    ],
    [
      'a key named __proto__',
      () => JSON.parse('{"__proto__": {"n": 1}}'),
      (value: object) => Object.values(value)[0],
    ],
    [
      'an object that was frozen before, but not its parts',
      () => Object.freeze({ a: { n: 1 } }),
      (value: { a: object }) => value.a,
    ],
    ['a cycle', () => cyclic, (value: { self: { list: object } }) => value.self.list],
    [
      'two places that share a part',
      () => ({ one: shared, other: [shared] }),
      (value: { other: object[] }) => value.other[0]!,
    ],
    ['an array with holes', () => sparse, (value: object[]) => value[2]!],
    [
      'objects of another V8 context',
      () => runInContext('({ list: [{ n: 1 }] })', createContext()),
      (value: { list: object[] }) => value.list[0]!,
    ],
    ['twenty thousand levels', () => deep, (value: object[][]) => value[0]![0]!],
  ])('%s', async (_, make, part) => {
    const { cache } = await startSimulatedNode()
    const [first, second, third] = await readers(cache, make)
    expect(second === first && third === first).toBe(true)
    expect(Object.isFrozen(first)).toBe(true)
    expect(Object.isFrozen(part(first as never))).toBe(true)
  })
})

describe('each caller gets a copy of its own of data that freezing cannot protect:', () => {
  const bytes = new ArrayBuffer(16)

  test.each<[string, () => unknown, change: (value: never) => unknown, shown: (value: never) => unknown]>([
    [
      'a date',
      () => ({ at: new Date(0) }),
      (v: { at: Date }) => v.at.setTime(9),
      (v: { at: Date }) => v.at.getTime(),
    ],
    [
      'an invalid date',
      () => [new Date(Number.NaN)],
      (v: Date[]) => v[0]!.setTime(9),
      (v: Date[]) => v[0]!.getTime(),
    ],
    [
      'a map, its values and its keys',
      () => new Map([[{ k: 1 }, { n: 1 }]]),
      (v: Map<{ k: number }, { n: number }>) => {
        for (const [key, value] of v) key.k = value.n = 9
        v.set({ k: 2 }, { n: 2 })
      },
      (v: Map<unknown, unknown>) => JSON.stringify([...v]),
    ],
    [
      'a map whose class iterates over something other than its entries',
      () => new Shelf([['a', { n: 1 }]]),
      (v: Shelf) => {
        v.get('a')!.n = 9
      },
      (v: Shelf) => v.get('a')?.n,
    ],
    [
      'a set',
      () => new Set([{ n: 1 }]),
      (v: Set<{ n: number }>) => v.add({ n: 2 }),
      (v: Set<unknown>) => JSON.stringify([...v]),
    ],
    [
      'a regular expression',
      () => /a/g,
      (v: RegExp) => v.exec('aa'),
      (v: RegExp) => [v.source, v.flags, v.lastIndex],
    ],
    [
      'a buffer',
      () => Buffer.from('abc'),
      (v: Buffer) => v.fill(0),
      (v: Buffer) => [Buffer.isBuffer(v), v.toString()],
    ],
    [
      'a typed array',
      () => new Float64Array([1, 2]),
      (v: Float64Array) => v.fill(0),
      (v: Float64Array) => [...v],
    ],
    [
      'a part of a typed array',
      () => new Uint16Array([1, 2, 3]).subarray(1),
      (v: Uint16Array) => v.fill(0),
      (v: Uint16Array) => [...v],
    ],
    [
      'a view',
      () => new DataView(new ArrayBuffer(4), 1),
      (v: DataView) => v.setUint8(0, 9),
      (v: DataView) => [v.byteLength, v.getUint8(0)],
    ],
    [
      'plain bytes',
      () => new ArrayBuffer(2),
      (v: ArrayBuffer) => new Uint8Array(v).fill(9),
      (v: ArrayBuffer) => [...new Uint8Array(v)],
    ],
    [
      'two views of the same bytes',
      () => [new Uint8Array(bytes, 8, 8), new Uint8Array(bytes, 8, 4)],
      (v: Uint8Array[]) => v[0]!.fill(9),
      (v: Uint8Array[]) => v.map((view) => [...view]),
    ],
    [
      'bytes and a view of them',
      () => [bytes, new Uint8Array(bytes)],
      (v: [ArrayBuffer, Uint8Array]) => v[1].fill(9),
      (v: [ArrayBuffer, Uint8Array]) => [...new Uint8Array(v[0])],
    ],
    [
      'a view that lies within another one',
      () => [new Uint8Array(bytes, 8, 4), new Uint8Array(bytes, 8, 8)],
      (v: Uint8Array[]) => v[1]!.fill(9),
      (v: Uint8Array[]) => v.map((view) => [...view]),
    ],
    [
      'two parts of one buffer, which stay parts of one buffer',
      () => [new Uint8Array(bytes, 0, 4), new Uint8Array(bytes, 8, 4)],
      (v: Uint8Array[]) => v[0]!.fill(9),
      (v: Uint8Array[]) => [v[0]!.buffer === v[1]!.buffer, ...v[0]!],
    ],
    [
      'parts of one buffer that need to be aligned differently',
      () => [new Uint32Array(bytes, 4, 1), new Float64Array(bytes, 8, 1)],
      (v: [Uint32Array, Float64Array]) => v[1].fill(9),
      (v: [Uint32Array, Float64Array]) => v.map((view) => [...view]),
    ],
    [
      'a part in two places, beside a date',
      () => {
        const part = { n: 1 }
        return { one: part, other: part, at: new Date(0) }
      },
      (v: { one: { n: number } }) => (v.one.n = 9),
      (v: { one: { n: number }; other: object }) => [v.one === v.other, v.one.n],
    ],
    [
      'an array that ends with holes, beside a date',
      () => ({ list: Object.assign([1], { length: 3 }), at: new Date(0) }),
      (v: { list: number[] }) => v.list.push(9),
      (v: { list: number[] }) => [v.list.length, 2 in v.list],
    ],
    [
      'a key named __proto__, beside a date',
      () => Object.assign(JSON.parse('{"__proto__": {"n": 1}}'), { at: new Date(0) }),
      (v: object) => ((Object.values(v)[0] as { n: number }).n = 9),
      (v: object) => JSON.stringify(v),
    ],
    [
      'an object without a prototype that holds a date',
      () => Object.assign(Object.create(null), { at: new Date(0) }),
      (v: { at: Date }) => v.at.setTime(9),
      (v: { at: Date }) => v.at.getTime(),
    ],
    [
      'a regular expression that has searched a part of a text',
      () => Object.assign(/a/g, { lastIndex: 1 }),
      (v: RegExp) => (v.lastIndex = 9),
      (v: RegExp) => v.lastIndex,
    ],
    [
      'a property of a date',
      () => Object.assign(new Date(0), { note: { n: 1 } }),
      (v: { note: { n: number } }) => (v.note.n = 9),
      (v: { note: { n: number } }) => v.note.n,
    ],
    [
      'an instance of a class',
      () => new Account('Ada'),
      (v: Account) => v.tags.push('x'),
      (v: Account) => [v.greet(), ...v.tags],
    ],
    [
      'an instance of a subclass, in an object',
      () => ({ a: new Savings('Ada') }),
      (v: { a: Savings }) => (v.a.balance.cents = 9),
      (v: { a: Savings }) => [v.a.greet(), v.a.balance.cents],
    ],
    [
      'an instance of a subclass of Array',
      () => Names.of('a', 'bcd'),
      (v: Names) => v.pop(),
      (v: Names) => [v.longest(), v.length],
    ],
    [
      'the same, holding instances',
      () => Parts.of(new Account('Ada')),
      (v: Parts) => v[0]!.tags.push('x'),
      (v: Parts) => [v[0]!.greet(), ...v[0]!.tags],
    ],
    [
      'an instance of a subclass of Map',
      () => Object.assign(new Rates([['a', { rate: 1 }]])),
      (v: Rates) => (v.source.name = v.get('a')!.rate = 9 as never),
      (v: Rates) => [v.source.name, v.get('a')!.rate],
    ],
    ['an instance of a subclass of Set', () => new Ids([1]), (v: Ids) => v.clear(), (v: Ids) => [...v]],
    [
      'an instance of a subclass of Date',
      () => new Day(0),
      (v: Day) => v.setTime(9),
      (v: Day) => v.isEpoch(),
    ],
    [
      'an instance of a subclass of Uint8Array',
      () => new Bytes([1]),
      (v: Bytes) => (v[0] = v.note.text.length + 8),
      (v: Bytes) => [v[0], v.note.text],
    ],
    [
      'an instance that is not extensible',
      () => new Locked(),
      () => {},
      (v: Locked) => [v.amount, Object.isFrozen(v)],
    ],
    [
      'an instance of a class written as a function',
      () => new (OldStyle as never as new () => object)(),
      (v: { list: number[] }) => v.list.push(2),
      (v: { sum(): number }) => v.sum(),
    ],
    [
      'an instance of a class that extends null',
      () => NullBased.of([1]),
      (v: NullBased) => v.list.push(2),
      (v: NullBased) => v.list.length,
    ],
    [
      'an instance with a `constructor` property of its own',
      () => Object.assign(new NamesItself(), { constructor: NamesItself }),
      (v: NamesItself) => v.digits.pop(),
      (v: NamesItself) => v.digits.length,
    ],
    [
      'a date in an object with a hidden property',
      () => Object.defineProperty({ at: new Date(0) }, hidden, { value: { n: 1 } }),
      (v: { [hidden]: { n: number } }) => (v[hidden].n = 9),
      (v: { [hidden]: { n: number } }) => v[hidden].n,
    ],
    [
      'a frozen object with a property that is not enumerable, beside a date',
      () => Object.freeze(Object.defineProperty({ at: new Date(0) }, 'quiet', { value: 1 })),
      (v: { quiet: number }) => (v.quiet = 9),
      (v: { quiet: number }) => v.quiet,
    ],
    [
      'a chain of thousands of instances',
      () => {
        let chain: { next?: object; at: Date } = { at: new Date(0) }
        for (let level = 0; level < 20_000; level++) chain = { next: chain, at: new Date(0) }
        return chain
      },
      (v: { at: Date }) => v.at.setTime(9),
      (v: { at: Date }) => v.at.getTime(),
    ],
  ])('%s', async (_, make, change, shown) => {
    const { cache } = await startSimulatedNode()
    const made = make()
    const [first, second, third] = await readers(cache, () => made)
    const before = shown(make() as never)
    for (const value of [first, second, third]) {
      expect(shown(value as never)).toEqual(before)
      expect(Object.getPrototypeOf(value)).toBe(Object.getPrototypeOf(made))
      change(value as never)
    }
    expect(shown((await cache.getOrCreate('a', never)) as never)).toEqual(before)
    // The value that the load returned is unchanged, too.
    expect(shown(made as never)).toEqual(before)
  })

  test('of the bytes that the value uses, and not of others in the same buffer', async () => {
    const { cache } = await startSimulatedNode()
    const [first] = await readers(cache, () => Buffer.from(new ArrayBuffer(8_192), 4_096, 3))
    expect(first.buffer.byteLength).toBe(3)
  })

  test('with clone, even of plain data', async () => {
    const { cache } = await startSimulatedNode({ entry: { clone: true }, cache: { cacheAbsent: true } })
    const [first, second] = await readers(cache, () => ({
      [hidden]: [1],
      list: Object.assign([1], { 2: 3 }),
    }))
    first[hidden].push(2)
    first.list.push(4)
    expect(second[hidden]).toEqual([1])
    expect(1 in second.list).toBe(false)
  })

  test.each([undefined, null, 0, 'text', 5n])(
    'with clone, a primitive is kept as it is: %p',
    async (value) => {
      const { cache } = await startSimulatedNode({ entry: { clone: true }, cache: { cacheAbsent: true } })
      expect(await readers(cache, () => value)).toEqual([value, value, value])
    },
  )
})

class Handed {
  run = () => 1
}
class Secretive {
  #count = 0
  next(): number {
    return ++this.#count
  }
}
class Heir extends Secretive {}
class ReadByItsClass {
  #count = 0
  static countOf(one: ReadByItsClass): number {
    return one.#count
  }
}
class Disguised {
  #count = 0
  get count(): number {
    return this.#count
  }
}
Object.defineProperty(Disguised.prototype, 'constructor', { value: Handed })
const _classPrivateFieldInitSpec = (of: object) => of
function Compiled(this: object) {
  _classPrivateFieldInitSpec(this)
}

describe('a value that is not data is answered unchanged and not kept, and an event says which part is not data:', () => {
  const nested = (name: string, levels: number, inner: unknown): unknown =>
    levels === 0 ? inner : { [name]: nested(name, levels - 1, inner) }
  const singleton = { locale: { format: (n: number) => `${n}` }, settings: { n: 1 } }

  test.each<[string, () => unknown, detail: string]>([
    [
      'a URL',
      () => ({ links: [{ url: new URL('http://a.example') }] }),
      'value.links[0].url is an instance of URL',
    ],
    ['headers', () => new Headers({ a: 'b' }), 'value'],
    [
      'a class with private members',
      () => [new Secretive()],
      'value[0] is an instance of Secretive, which has private members',
    ],
    [
      'a subclass of a class with private members',
      () => new Heir(),
      'value is an instance of Heir, which has private members',
    ],
    [
      'a class whose private members only the class itself reads',
      () => new ReadByItsClass(),
      'value is an instance of ReadByItsClass, which has private members',
    ],
    [
      'a class that names another one as its constructor, and whose getter reads private members',
      () => new Disguised(),
      'value is an instance of a class without a name, which has private members',
    ],
    [
      'a class that stands behind a proxy',
      () => new Wrapped(),
      'value is an instance of a class without a name, whose state cannot be read',
    ],
    [
      'a class that was compiled for engines without private members',
      () => new (Compiled as never as new () => object)(),
      'value is an instance of Compiled, which has private members',
    ],
    ['a function', () => () => 1, 'value is a function'],
    ['an object with a function', () => ({ a: singleton }), 'value.a.locale.format is a function'],
    ['an instance with a function of its own', () => new Handed(), 'value.run is a function'],
    [
      'a getter',
      () => ({
        get a() {
          throw new Error('read')
        },
      }),
      'value.a is a property with a getter or a setter',
    ],
    ['a setter', () => ({ set a(_: unknown) {} }), 'value.a is a property with a getter or a setter'],
    ['an error with a cause', () => new Error('a', { cause: { n: 1 } }), 'value is an error'],
    [
      'an instance of a subclass of Error',
      () => ({ e: new (class Failed extends Error {})() }),
      'value.e is an error',
    ],
    ['a promise', () => ({ later: Promise.resolve(1) }), 'value.later is an instance of Promise'],
    [
      'a proxy',
      () => ({
        p: new Proxy(
          {},
          {
            ownKeys: asked,
          },
        ),
      }),
      'value.p is a proxy',
    ],
    ['a weak map', () => [new WeakMap()], 'value[0] is an instance of WeakMap'],
    [
      'a weak reference',
      () => [new WeakRef({})],
      'value[0] is an instance of WeakRef, whose state cannot be read',
    ],
    ['a boxed number', () => [Object(1)], 'value[0] is an instance of Number'],
    ['an iterator', () => [[1][Symbol.iterator]()], 'value[0] is'],
    ['a generator', () => [(function* () {})()], 'value[0] is'],
    [
      'a built-in formatter',
      () => ({ f: new Intl.NumberFormat() }),
      'value.f is an instance of NumberFormat, whose state cannot be read',
    ],
    ['a stream', () => new PassThrough(), 'value'],
    ['a socket', () => ({ of: new Socket() }), 'value.of'],
    [
      'an emitter with listeners',
      () => new EventEmitter().on('a', () => {}),
      'value._events.a is a function',
    ],
    ['shared memory', () => new Uint8Array(new SharedArrayBuffer(2)), 'value is a view of shared memory'],
    ['an object in a prototype', () => Object.create({ list: [] }), 'whose prototype holds an object'],
    [
      'an object whose prototype is a proxy',
      () =>
        Object.create(
          new Proxy(
            {},
            {
              getOwnPropertyDescriptor: asked,
            },
          ),
        ),
      'value is an instance of a proxy, whose state cannot be read',
    ],
    [
      'a plain object that holds its class',
      () => ({ constructor: Object }),
      'value.constructor is a function',
    ],
    [
      'an instance that holds another class',
      () => Object.assign(new NamesItself(), { constructor: Account }),
      'value.constructor is a function',
    ],
    [
      'an instance that holds its class behind a proxy',
      () =>
        Object.assign(new NamesItself(), {
          constructor: new Proxy(NamesItself, { getOwnPropertyDescriptor: asked }),
        }),
      'value.constructor is a function',
    ],
    [
      'a function of a subclass of Uint8Array',
      () => Object.assign(new Bytes(1), { run: () => 1 }),
      'value.run is a function',
    ],
    ['a function as the key of a map', () => new Map([[() => 1, 1]]), 'value<a key> is a function'],
    ['a function in an array with holes', () => Object.assign([], { 1: () => 1 }), 'value[1] is a function'],
    [
      'a function that is more than twenty steps away',
      () =>
        nested(
          'a',
          20,
          nested('b', 5, () => 1),
        ),
      `value${'.a'.repeat(20)}… is a function`,
    ],
    [
      'a property whose name is not an identifier',
      () => ({ 'a b': [() => 1] }),
      'value["a b"][0] is a function',
    ],
  ])('%s', async (_, make, detail) => {
    const node = await startSimulatedNode({ shared: new InMemoryTier() })
    const told = listen(node)
    const made = make()
    const beside = { mine: { n: 1 }, made }
    expect((await node.cache.getOrCreate('a', async () => beside)) === beside).toBe(true)
    expect((await node.cache.getOrCreate('b', async () => made)) === made).toBe(true)
    expect(Object.isFrozen(beside) || Object.isFrozen(beside.mine)).toBe(false)
    if (typeof made === 'object' && made && !types.isProxy(made)) expect(Object.isExtensible(made)).toBe(true)
    expect(told.map(({ reason, tier }) => `${reason} ${tier}`)).toEqual(Array(2).fill('not-cloneable l1'))
    expect(told[1]?.detail).toContain(detail)
    expect(await node.cache.get('a')).toBeUndefined()
    expect(await node.cache.get('b')).toBeUndefined()
    expect(node.cache.inMemory.entries).toBe(0)
    expect(node.cache.statistics.unkept).toBe(2)
  })

  test.each<[string, () => object]>([
    ['a promise', () => Promise.resolve()],
    ['a weak map', () => new WeakMap()],
    ['a weak set', () => new WeakSet()],
    ['a boxed number', () => Object(1)],
    ['a generator', () => (function* () {})()],
    ['an iterator of a map', () => new Map().entries()],
    ['an iterator of a set', () => new Set().values()],
    ['an error', () => new Error('a')],
    ['shared memory', () => new SharedArrayBuffer(1)],
  ])('%s, even without its prototype', async (_, make) => {
    const { cache } = await startSimulatedNode()
    await cache.getOrCreate('a', async () => [Object.setPrototypeOf(make(), null)])
    expect(cache.statistics.unkept).toBe(1)
  })

  test('a module, which cannot be frozen', async () => {
    const { cache } = await startSimulatedNode()
    const module = await import(String('data:text/javascript,export const n = 1'))
    expect(await cache.getOrCreate('a', async () => ({ module }))).toEqual({ module })
    expect(cache.statistics.unkept).toBe(1)
  })

  test('all callers who wait for the same load get the same object', async () => {
    const { cache } = await startSimulatedNode()
    const gate = new Gate()
    const load = async () => {
      await gate.opened
      return { run: () => 1 }
    }
    const both = [cache.getOrCreate('a', load), cache.getOrCreate('a', load)]
    gate.open()
    const [one, other] = await Promise.all(both)
    expect(one).toBe(other)
  })

  test('setting such a value drops the old one on every node, and keeps nothing', async () => {
    const node = await startSimulatedNode()
    await node.cache.getOrCreate('a', async () => 'old')
    const told = listen(node)
    await node.cache.set('a', new URL('http://a.example'), { stamp: node.cache.capture() })
    expect(told).toHaveLength(1)
    expect(await node.cache.get('a')).toBeUndefined()
  })
})

test('a caller who freezes the promise of a hit breaks no later read of this key or another', async () => {
  const entry = { eagerRefreshThreshold: 0.5, failSafe: true, failSafeThrottleMs: 0 }
  const node = await startSimulatedNode({ cache: { maxEntries: 3 }, entry })
  const read = (key: string) => node.cache.getOrCreate(key, async () => key)
  for (const key of ['a', 'b']) {
    for (let hit = 0; hit < 3; hit++) Object.freeze(read(key))
  }
  for (const key of ['c', 'd', 'e', 'a', 'b', 'f', 'a']) expect(await read(key)).toBe(key)
  Object.freeze(read('a'))
  node.clock.advance(entry.eagerRefreshThreshold * defaultEntryOptions.l1TtlMs)
  await node.check.run()
  expect(await read('a')).toBe('a')
  node.clock.advance(defaultEntryOptions.l2TtlMs)
  await node.check.run()
  const failing = node.cache.getOrCreate('a', () => Promise.reject(new Error('away')))
  expect(await failing).toBe('a')
})

describe('a value that is set by hand', () => {
  test('is copied before setMany returns, even if another value of the same call may not be kept', async () => {
    const { cache } = await startSimulatedNode()
    const own = { n: 1 }
    const values: [string, unknown][] = [
      ['absent', null],
      ['a', own],
    ]
    const setting = cache.setMany(values, { stamp: cache.capture() })
    own.n = 2
    await setting
    expect(await cache.get('a')).toEqual({ n: 1 })
  })

  test('is copied, so that later changes by its owner are not seen', async () => {
    const { cache } = await startSimulatedNode()
    const own = { list: [{ n: 1 }] }
    const setting = cache.set('a', own, { stamp: cache.capture() })
    own.list.push({ n: 2 })
    await setting
    own.list[0]!.n = 3
    expect(Object.isFrozen(own)).toBe(false)
    expect(await cache.get('a')).toEqual({ list: [{ n: 1 }] })
  })
})

describe('L2', () => {
  async function startTwoNodes() {
    const journal = new InMemoryJournal()
    const clock = new ManualClock()
    const shared = new InMemoryTier()
    const one = await startSimulatedNode({ journal, clock, shared })
    return { one, two: await startSimulatedNode({ journal, clock, shared }) }
  }

  test.each<[string, () => object]>([
    ['a regular expression', () => /a/gi],
    ['pooled buffers', () => [Buffer.from('ab'), Buffer.from('cd')]],
    ['a map with objects as keys', () => new Map([[{ k: 1 }, new Date(0)]])],
    ['minus zero', () => ({ n: -0 })],
    ['a number that is not finite', () => [Number.NaN, Number.POSITIVE_INFINITY]],
    ['a bigint', () => ({ n: 1n })],
    ['undefined', () => ({ n: undefined })],
    ['an array with holes', () => Object.assign([1], { 2: 3 })],
    ['a property of an array', () => Object.assign([1], { note: 1 })],
    ['a property named toJSON', () => ({ toJSON: 1 })],
    ['a key named __proto__', () => JSON.parse('{"__proto__": {"n": 1}}')],
  ])('brings back %s as it was', async (_, make) => {
    const { one, two } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => make())
    expect(await two.cache.getOrCreate('a', never)).toStrictEqual(make())
  })

  test('brings back a part in two places as one part', async () => {
    const { one, two } = await startTwoNodes()
    const part = { n: 1 }
    await one.cache.getOrCreate('a', async () => [part, part])
    const [first, second] = await two.cache.getOrCreate<object[]>('a', never)
    expect(first).toBe(second)
  })

  test('does not hold a value that it would change, which memory holds all the same', async () => {
    const { one, two } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => ({ [hidden]: 1 }))
    expect(one.cache.peek('a')).toEqual({ [hidden]: 1 })
    expect(await two.cache.get('a')).toBeUndefined()
  })

  test.each<[string, unknown]>([
    ['Array', Names.of('a')],
    ['Map', new Rates()],
    ['Set', new Ids()],
    ['Date', new Day(0)],
    ['Uint8Array', new Bytes(1)],
    ['nothing', new Account('Ada')],
    ['null', NullBased.of([1])],
  ])('refuses an instance of a class that extends %s', (_, value) => {
    expect(() => new StructuredSerializer().serialize({ value })).toThrow(
      /value\.value is an instance of \w+/,
    )
  })

  test.each<[string, unknown, string]>([
    [
      'a property of an array that is named by a symbol',
      Object.assign([1], { [hidden]: 1 }),
      'is named by a symbol',
    ],
    [
      'a property that is not enumerable',
      Object.defineProperty({}, 'quiet', { value: 1 }),
      'value.quiet is not enumerable',
    ],
    [
      'a property on a date',
      Object.assign(new Date(0), { note: 1 }),
      'value.note is a property of a built-in object',
    ],
    [
      'a property of an array that is not enumerable',
      Object.defineProperty([1], 'quiet', { value: 1 }),
      'value.quiet is not enumerable',
    ],
    [
      'a regular expression that has searched a part of a text',
      Object.assign(/a/g, { lastIndex: 1 }),
      'value.lastIndex is not 0',
    ],
    ['a symbol', { kind: hidden }, 'value.kind is a symbol'],
    [
      'an object without a prototype',
      { groups: Object.assign(Object.create(null), { a: 1 }) },
      'value.groups has no prototype',
    ],
    [
      'a getter',
      {
        get a() {
          return 1
        },
      },
      'value.a is a property with a getter or a setter',
    ],
    [
      'views that share bytes',
      (() => {
        const b = new ArrayBuffer(4)
        return [new Uint8Array(b), new Uint8Array(b, 1)]
      })(),
      'value holds views that share bytes',
    ],
  ])('refuses a value with %s', (_, value, message) => {
    expect(() => new StructuredSerializer().serialize(value)).toThrow(message)
  })
})

test('the log says for the first, and then for each thousandth value, which part is not data; an event says it for each', async () => {
  const node = await startSimulatedNode()
  const lines: unknown[] = []
  Object.assign(node.events, { logger: { warn: (_: object, line: string) => lines.push(line) } })
  const told = listen(node)
  for (let count = 0; count < 1_001; count++)
    await node.cache.getOrCreate('a', async () => ({ url: new URL('http://a.example') }))
  const line = expect.stringMatching(
    /^Thing: a value is not cached, because value\.url is an instance of URL/,
  )
  expect(lines).toEqual([line, line])
  expect(told).toHaveLength(1_001)
})
