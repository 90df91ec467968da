import type {
  LoadLock,
  SharedEntry,
  SharedKey,
  SharedTier,
} from '../../src/kernel/cache/shared/shared-tier.js'
import { WireFormat } from '../../src/kernel/cache/shared/wire-format.js'
import { StructuredSerializer } from '../../src/kernel/cache/values/structured-serializer.js'
import { type Hint, HintCodec } from '../../src/kernel/journal/hint.js'
import type { HintChannel, HintListener } from '../../src/kernel/journal/hint-channel.js'
import type { Caller } from './postgres-model.js'
import type { Scheduler } from './scheduler.js'

/** Small, as a value that is too large need not be large then. */
export const maximumPayloadBytes = 10_000

const installation = { namespace: 'explorer', secret: Buffer.alloc(32, 7) }
const format = new WireFormat(installation, {
  serializer: new StructuredSerializer(),
  maximumPayloadBytes,
  compressAboveBytes: Number.POSITIVE_INFINITY,
})
const codec = new HintCodec(installation)

interface Kept {
  readonly entries: ReadonlyMap<string, Buffer>
  readonly locks: ReadonlyMap<string, Lock>
}

interface Lock {
  readonly position: number
  readonly holder: string
  readonly loaded: boolean
}

export interface RedisOptions {
  /** How often each hint is delivered. */
  readonly copiesOfHints: number
  /** Whether a node hears its own hints, as it does over Pub/Sub. */
  readonly hearsItself: boolean
  /** Whether what was found arrives in a step of its own. */
  readonly slowReplies: boolean
}

/**
 * Redis: L2 and the hints, both as bytes that the service's own codecs made, so that a stranger's do not pass. It may
 * answer late, forget all, or be what it was before; what is under way between nodes has no order.
 */
export class RedisModel {
  isDown = false
  #entries = new Map<string, Buffer>()
  #locks = new Map<string, Lock>()
  #saved: Kept = { entries: new Map(), locks: new Map() }
  readonly #listeners = new Map<string, HintListener | undefined>()
  readonly #hasApplied = new Map<string, (hint: Hint) => boolean>()

  constructor(
    private readonly scheduler: Scheduler,
    private readonly options: RedisOptions,
  ) {}

  tierOf(caller: Caller, timeoutMs: number): SharedTier {
    const tier: SharedTier = {
      timeoutMs,
      get: async (key) => (await tier.getMany([key]))[0],
      getMany: (keys) => this.#getMany(caller, keys),
      set: (key, entry) => this.#set(caller, key, entry),
      setMany: (writes) => {
        for (const { key, entry } of writes) this.#set(caller, key, entry)
      },
      forget: (keys) => {
        for (const { key } of keys)
          this.#send(caller, `L2 forgets ${key}`, [`L2 ${key}`], () => {
            for (const name of keys) this.#entries.delete(nameOf(name))
          })
      },
      lock: (key, position, required) => this.#lock(caller, key, position, required),
    }
    return tier
  }

  /** @param hasApplied whether the node has nothing to learn from a hint any more */
  hintsOf(caller: Caller, hasApplied: (hint: Hint) => boolean): HintChannel {
    this.#hasApplied.set(caller.name, hasApplied)
    // What is sent before the node listens may still arrive: then nobody's sending depends on when it begins to.
    this.#listeners.set(caller.name, undefined)
    return {
      start: async (listener) => {
        this.#listeners.set(caller.name, listener)
      },
      publish: (hint) => this.#publish(caller, hint),
      stop: async () => {},
    }
  }

  disconnect(caller: string): void {
    this.#listeners.delete(caller)
  }

  save(): void {
    this.#saved = { entries: new Map(this.#entries), locks: new Map(this.#locks) }
  }

  /** As after a failover to a replica that lags, or a restart from an old dump. */
  restore(): void {
    this.#entries = new Map(this.#saved.entries)
    this.#locks = new Map(this.#saved.locks)
    this.#reconnectAll()
  }

  restartEmpty(): void {
    this.#entries.clear()
    this.#locks.clear()
    this.#reconnectAll()
  }

  /** What somebody with Redis alone can say: a well-formed hint without the installation's signature. */
  forge(hint: Hint): void {
    for (const { text, hint: piece } of codec.encode(hint)) {
      const forged = '0'.repeat(64) + text.slice(64)
      for (const name of this.#listeners.keys()) this.#deliver(`forged`, name, forged, piece)
    }
  }

  #reconnectAll(): void {
    // Pub/Sub keeps nothing for those who are away.
    this.scheduler.drop(({ id }) => id.startsWith('hint '))
    for (const [name, listener] of this.#listeners) {
      if (!listener) continue
      this.scheduler.add({
        id: `${name} subscribes again`,
        node: name,
        owner: name,
        optional: true,
        writes: [name],
        perform: () => {
          listener.reconnected()
          return undefined
        },
      })
    }
  }

  async #getMany(caller: Caller, keys: readonly SharedKey[]): Promise<readonly (SharedEntry | undefined)[]> {
    const id = caller.nextRequest()
    const names = keys.map(({ key }) => key).join(', ')
    const reads = ['redis', ...keys.map(({ key }) => `L2 ${key}`)]
    const get = () => keys.map((key) => this.#get(key))
    const tell = (found: readonly (SharedEntry | undefined)[]) =>
      found.map((entry) => (entry ? `${entry.value} of position ${entry.position}` : 'nothing')).join()
    const atNode = { node: caller.name, owner: caller.name }
    if (!this.options.slowReplies) {
      const step = {
        id: `${id} L2 gives ${names} to ${caller.name}`,
        ...atNode,
        reads,
        writes: [caller.name],
      }
      return this.scheduler.park(step, get, tell)
    }
    const found = await this.scheduler.park(
      { id: `${id} L2 finds ${names}`, owner: caller.name, reads },
      get,
      tell,
    )
    const arrival = { id: `${id} what L2 found reaches ${caller.name}`, ...atNode, writes: [caller.name] }
    return this.scheduler.park(arrival, () => found)
  }

  #get(key: SharedKey): SharedEntry | undefined {
    const name = nameOf(key)
    const bytes = this.isDown ? undefined : this.#entries.get(name)
    const entry = bytes && format.decode(name, bytes)
    return entry instanceof Promise ? undefined : entry
  }

  #set(caller: Caller, key: SharedKey, entry: SharedEntry): void {
    const name = nameOf(key)
    const bytes = encoded(name, entry)
    if (!bytes) return
    this.#send(caller, `L2 stores ${key.key} of position ${entry.position}`, [`L2 ${key.key}`], () =>
      this.#entries.set(name, bytes),
    )
  }

  #send(caller: Caller, what: string, writes: readonly string[], execute: () => void): void {
    if (this.isDown) return
    this.scheduler.add({
      id: `${caller.nextRequest()} ${what}`,
      owner: caller.name,
      survives: true,
      optional: true,
      reads: ['redis'],
      writes,
      perform: () => {
        if (!this.isDown) execute()
        return undefined
      },
    })
  }

  #lock(caller: Caller, key: SharedKey, position: number, required: number): Promise<LoadLock> {
    const name = nameOf(key)
    const id = caller.nextRequest()
    return this.scheduler.park(
      {
        id: `${id} the load lock of ${key.key} is asked for`,
        node: caller.name,
        owner: caller.name,
        reads: ['redis'],
        writes: [`lock ${key.key}`, caller.name],
      },
      (): LoadLock => {
        const lock = this.#locks.get(name)
        const recent = lock !== undefined && lock.position >= required
        if (recent && !lock.loaded && !this.isDown) return { held: false }
        this.#locks.set(name, { position, holder: id, loaded: false })
        const release = (loaded: boolean): void =>
          this.#send(caller, `the load lock of ${key.key} is freed`, [`lock ${key.key}`], () => {
            if (this.#locks.get(name)?.holder !== id) return
            if (loaded) this.#locks.set(name, { position, holder: id, loaded })
            else this.#locks.delete(name)
          })
        return { held: true, loadedMeanwhile: recent, release }
      },
      ({ held }) => (held ? 'held' : 'somebody else has it'),
    )
  }

  #publish(caller: Caller, hint: Hint): void {
    if (this.isDown) return
    for (const { text, hint: piece } of codec.encode(hint)) {
      const request = caller.nextRequest()
      for (const name of this.#listeners.keys()) {
        if (name === caller.name && !this.options.hearsItself) continue
        for (let copy = 1; copy <= this.options.copiesOfHints; copy++)
          this.#deliver(copy === 1 ? request : `${request} again`, name, text, piece)
      }
    }
  }

  #deliver(request: string, name: string, text: string, sent: Hint): void {
    const { epoch, head, messages } = sent
    this.scheduler.add({
      id: `hint ${request} reaches ${name}`,
      node: name,
      owner: name,
      optional: true,
      writes: [name],
      ready: () => this.#listeners.get(name) !== undefined,
      isIdle: () => this.#hasApplied.get(name)?.(sent) === true,
      perform: () => {
        const hint = codec.decode(text)
        const listener = this.#listeners.get(name)
        if (hint) listener?.hint(hint)
        else listener?.rejected('forged')
        const about = `positions ${messages.map(({ position }) => position).join(', ')} of ${epoch.slice(-2)}, head ${head}`
        return hint ? about : `forged: ${about}`
      },
    })
  }
}

/** @returns undefined for what L2 does not take */
function encoded(name: string, entry: SharedEntry): Buffer | undefined {
  try {
    return format.encode(name, entry) as Buffer
  } catch {
    // Too large, or nothing that bytes can carry.
    return undefined
  }
}

function nameOf({ epoch, cache, key }: SharedKey): string {
  return `${epoch}:${cache}:${key}`
}
