import type { Redis, Result } from 'ioredis'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    aftercommitReadBuffer(
      count: number,
      names: readonly string[],
      longest: number,
      largestReply: number,
    ): Result<Buffer[], Context>
  }
}

/** The result for a key that does not hold a string. No entry is this short, so it cannot be mistaken for one. */
const otherType = Buffer.from('!')

/** Most keys that one `MGET` asks for. */
const keysOfMget = 16

/** Milliseconds for which values are read with a length limit, after a reply that was longer than entries can be. */
const cautiousMs = 60_000

/** A reply ends once its values exceed this many bytes. The remaining keys go into the next request. */
const largestReply = 4 * 1_048_576

/** `MGET` that cuts each value off after `longest` bytes and one more. It takes Redis ten times as long as `MGET`. */
const readScript = `
local found = {}
local left = tonumber(ARGV[2])
for index, name in ipairs(KEYS) do
  local value = redis.pcall('GETRANGE', name, 0, ARGV[1])
  if type(value) == 'table' then value = '${otherType}' end
  found[index] = value
  left = left - #value
  if left < 0 then break end
end
return found`

const nothing = Buffer.alloc(0)

/**
 * Reads keys that somebody else may have written to, without letting a huge value fill this node's memory. The client hands
 * over a reply only once all of it has arrived, which is too late to look at its length. So the connection is closed as soon
 * as a reply grows longer than entries can be, and for a minute each value is then read with a length limit. The reads
 * under way on that connection find nothing.
 */
export class BoundedReads {
  /** How many `MGET`s still wait for their replies, and how many bytes have arrived since the last of those replies. */
  #awaited = 0
  #arrived = 0
  #cautiousUntil = Number.NEGATIVE_INFINITY

  /** @param longest bytes of the longest value to be read; a longer value is cut off after one byte more */
  constructor(
    private readonly redis: Redis,
    private readonly longest: number,
  ) {
    redis.defineCommand('aftercommitRead', { lua: readScript })
    redis.on('connect', () => this.#watch())
    if (redis.status === 'ready') this.#watch()
  }

  /**
   * @returns the values in the order of the names; an empty buffer where there is none. If all of them together are too
   *   large, only the first of them, at least one.
   * @throws what Redis throws
   */
  async read(names: readonly string[]): Promise<readonly Buffer[]> {
    const [first] = names
    if (names.length === 1 && first !== undefined) return [await this.#readOne(first)]
    const isCautious = names.length > keysOfMget || performance.now() < this.#cautiousUntil
    return isCautious
      ? this.redis.aftercommitReadBuffer(names.length, names, this.longest, largestReply)
      : this.#readTogether(names)
  }

  /** Like `read`, but always returns a value for every name. */
  async readAll(names: readonly string[]): Promise<readonly Buffer[]> {
    const found = await this.read(names)
    return found.length === names.length
      ? found
      : [...found, ...(await this.readAll(names.slice(found.length)))]
  }

  /** Whether `read` found something other than a string, such as a list. */
  isOfOtherType(bytes: Buffer): boolean {
    return bytes.length === otherType.length && bytes.equals(otherType)
  }

  async #readTogether(names: readonly string[]): Promise<readonly Buffer[]> {
    this.#awaited++
    try {
      const found = await this.redis.mgetBuffer(names as string[])
      return found.map((bytes) => bytes ?? nothing)
    } finally {
      this.#awaited--
      this.#arrived = 0
    }
  }

  #readOne(name: string): Promise<Buffer> {
    return this.redis.getrangeBuffer(name, 0, this.longest).catch((error: unknown) => {
      if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return otherType
      throw error
    })
  }

  #watch(): void {
    const { stream } = this.redis
    const longestReply = keysOfMget * this.longest
    this.#arrived = 0
    stream.on('data', (chunk: Buffer) => {
      // Only `MGET` replies are measured. Replies to other commands are short, but so many that their sum would pass the limit.
      this.#arrived = this.#awaited === 0 ? 0 : this.#arrived + chunk.length
      if (this.#arrived <= longestReply) return
      this.#cautiousUntil = performance.now() + cautiousMs
      stream.destroy()
    })
  }
}
