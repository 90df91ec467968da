import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, type ClientDependencies } from './client.js'
import type { Mode } from './cluster.js'
import type { Observed } from './history.js'
import type { Random } from './random.js'
import type { Balancer } from './round-robin.js'
import { type CategoryTarget, type FlagTarget, type ProductTarget, singles, type World } from './world.js'

/** The start of a name whose commit the database refuses; see `audit.ts`. */
export const doomed = 'doomed'

const burst = 16
const readers = 6
const sessions = 14
const writers = 2
const flagKeepers = 2
const askersOfANode = 4

/** Milliseconds between two operations of one client. */
const paces = { session: 28, writer: 150, flagKeeper: 120, registrar: 1_000 }

/** The approximate number of reads a second of all clients other than the readers. */
const otherReads = 450

type Step = (client: Client, random: Random) => Promise<unknown>

/**
 * The clients of a run. Readers send bursts of reads of hot keys without a token. Sessions send back the newest token that
 * they have got. Writers use no tokens, and the database refuses some of their writes at COMMIT. Flag keepers remove flags
 * and create them again. One client registers users.
 */
export class Traffic {
  readonly #clients: Client[] = []
  readonly #loops: Promise<void>[] = []
  readonly #end = new AbortController()
  readonly #askers = new Map<number, Client[]>()
  #values = 0

  /**
   * @param readsPerSecond the approximate number of reads a second while the nodes can answer them
   */
  constructor(
    private readonly world: World,
    private readonly dependencies: ClientDependencies,
    private readonly random: Random,
    private readonly mode: Mode,
    readsPerSecond: number,
  ) {
    setMaxListeners(0, this.#end.signal)
    const readerPace = (readers * burst * 1_000) / Math.max(100, readsPerSecond - otherReads)
    const isNaive = mode === 'naive'
    this.#add(readers, false, readerPace, (client, random) => this.#burst(client, random))
    this.#add(sessions, !isNaive, paces.session, (client, random) => this.#session(client, random))
    this.#add(writers, false, paces.writer, (client, random) => this.#writeUser(client, random))
    this.#add(1, false, paces.registrar, (client) => this.#register(client))
    if (!isNaive) {
      this.#add(flagKeepers, true, paces.flagKeeper, (client, random) => this.#keepFlag(client, random))
    }
  }

  /**
   * Sends bursts of reads to one node, whatever its state is.
   *
   * @param number the number of the node, from 1
   */
  ask(number: number): void {
    let askers = this.#askers.get(number)
    if (!askers) {
      const balancer: Balancer = { take: () => number - 1, giveBack: () => {} }
      askers = Array.from({ length: askersOfANode }, () =>
        this.#newClient(false, { ...this.dependencies, balancer }),
      )
      this.#askers.set(number, askers)
    }
    for (const asker of askers) this.#loops.push(this.#burst(asker, this.random).then(() => {}))
  }

  /** Stops the clients, waits for outstanding answers, and closes the connections. */
  async stop(): Promise<void> {
    this.#end.abort()
    await Promise.all(this.#loops)
    for (const client of this.#clients) client.close()
  }

  #add(count: number, usesTokens: boolean, paceMs: number, step: Step): void {
    for (let one = 0; one < count; one++) {
      const client = this.#newClient(usesTokens, this.dependencies)
      this.#loops.push(this.#repeat(client, paceMs, step))
    }
  }

  #newClient(usesTokens: boolean, dependencies: ClientDependencies): Client {
    const client = new Client(this.#clients.length, usesTokens, dependencies)
    this.#clients.push(client)
    return client
  }

  async #repeat(client: Client, paceMs: number, step: Step): Promise<void> {
    const { signal } = this.#end
    const random = this.random.fork()
    let due = performance.now() + random.next() * paceMs
    while (!signal.aborted) {
      await sleep(Math.max(0, due - performance.now()), undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      await step(client, random)
      // Operations that were late are skipped. Otherwise there would be a burst after each pause.
      due = Math.max(due + paceMs, performance.now())
    }
  }

  #burst(client: Client, random: Random): Promise<unknown> {
    const { users, products, flags, categories } = this.world
    const targets = Array.from({ length: burst }, () => {
      const draw = random.next()
      if (draw < 0.75 || products.length === 0) return users[random.skewed(users.length)]
      if (draw < 0.85) return products[random.skewed(products.length)]
      return draw < 0.97 ? flags[random.skewed(flags.length)] : random.pick(categories)
    })
    return client.read(targets.filter((target) => target !== undefined))
  }

  async #session(client: Client, random: Random): Promise<unknown> {
    const { products, categories } = this.world
    const draw = random.next()
    if (draw < 0.05) return this.#writeUser(client, random)
    if (products.length > 0 && draw < 0.06) return this.#putProduct(client, random.pick(products), random)
    if (products.length > 0 && draw < 0.065) return this.#reprice(client, random.pick(categories), random)
    if (products.length > 0 && draw < 0.1) return client.read([random.pick(categories)])
    const all = singles(this.world)
    return client.read([all[random.skewed(all.length)] ?? random.pick(all)])
  }

  /** Writes a user and reads it at once on the next node. */
  async #writeUser(client: Client, random: Random): Promise<unknown> {
    const { users } = this.world
    const user = users[random.skewed(users.length)] ?? random.pick(users)
    const isDoomed = random.chance(0.06)
    const name = `${isDoomed ? `${doomed} ` : ''}${this.#newValue(client)}`
    const { key, path } = user
    const conditional = this.mode === 'aftercommit' && random.chance(0.15)
    const [shown] = conditional ? await client.read([user]) : []
    const version = shown?.[0]?.version
    await client.write({
      method: 'PATCH',
      path,
      body: { name },
      key,
      value: name,
      ...(version === undefined ? {} : { ifMatch: version }),
    })
    return client.read([user])
  }

  async #putProduct(client: Client, product: ProductTarget, random: Random): Promise<unknown> {
    const name = this.#newValue(client)
    // Low, so that prices seldom reach the limit although they are raised again and again.
    const priceCents = random.integer(100, 100_000)
    const { key, path, category } = product
    await client.write({
      method: 'PUT',
      path,
      body: { name, category, priceCents, currency: 'EUR' },
      key,
      value: `${name}@${priceCents}`,
    })
    return client.read([product])
  }

  /** Sends one command that changes many rows and one tag. If a product would cost too much, nothing is written. */
  async #reprice(client: Client, category: CategoryTarget, random: Random): Promise<unknown> {
    const percent = random.pick([-50, -20, 10, 25, 1_000])
    await client.write({
      method: 'POST',
      path: `/categories/${category.name}/reprice`,
      body: { percent },
      key: `category ${category.name}`,
      value: `${this.#newValue(client)} ${percent}%`,
      version: 0,
    })
    return client.read([category])
  }

  async #register(client: Client): Promise<unknown> {
    const name = this.#newValue(client)
    return client.write({
      method: 'POST',
      path: '/users',
      body: { email: `${name}@example.org`, name },
      // The key contains the id, which only the answer shows.
      key: '',
      value: name,
    })
  }

  /** Uses If-Match, so that it knows the version that a removal makes, which the answer does not contain. */
  async #keepFlag(client: Client, random: Random): Promise<unknown> {
    const { flags } = this.world
    const flag = random.pick(flags)
    const [shown] = await client.read([flag])
    const [state] = shown ?? []
    if (!state) return
    if (state.version > 0 && random.chance(0.4)) return this.#removeFlag(client, flag, state)
    const description = this.#newValue(client)
    await client.write({
      method: 'PUT',
      path: flag.path,
      body: { enabled: random.chance(0.5), description },
      key: flag.key,
      value: description,
      ...(state.version === 0 ? {} : { ifMatch: state.version }),
    })
    return client.read([flag])
  }

  async #removeFlag(client: Client, { key, path }: FlagTarget, { version }: Observed): Promise<unknown> {
    return client.write({ method: 'DELETE', path, key, value: '', version: version + 1, ifMatch: version })
  }

  #newValue(client: Client): string {
    return `c${client.number}-${++this.#values}`
  }
}
