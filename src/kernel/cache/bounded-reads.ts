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

/** What a key of another type reads as: no value of a string that anybody has written as an entry. */
const otherType = Buffer.from('!')

/** Keys of one `MGET`. */
const keysOfMget = 16

/** Milliseconds for which Redis is asked for pieces of values only, after a reply was longer than entries can be. */
const cautiousMs = 60_000

/** Bytes of the values in one reply, from which on the rest of them is left to the next. */
const largestReply = 4 * 1_048_576

/** `MGET`, but of each value only what is not too long. It takes Redis ten times as long. */
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
 * Reads of keys that somebody else may have written to. A reply is in memory as a whole before anybody can look at the
 * lengths in it. So the connection is closed while a reply arrives that is longer than entries can be, and from then on
 * Redis is asked for no more of a value than an entry can have. The reads on that connection find nothing, once.
 */
export class BoundedReads {
  /** `MGET`s whose replies have not arrived, and bytes that have arrived since the last of them. */
  #awaited = 0
  #arrived = 0
  #cautiousUntil = Number.NEGATIVE_INFINITY

  /** @param longest bytes of the longest value that is of any use; of a longer one come as many and one more */
  constructor(
    private readonly redis: Redis,
    private readonly longest: number,
  ) {
    redis.defineCommand('aftercommitRead', { lua: readScript })
    redis.on('connect', () => this.#watch())
    if (redis.status === 'ready') this.#watch()
  }

  /**
   * @returns in the order of the names, empty where there is nothing; fewer than there are names, but one at least, where
   *   all together would be too much
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

  /** As `read`, for all of the names. */
  async readAll(names: readonly string[]): Promise<readonly Buffer[]> {
    const found = await this.read(names)
    return found.length === names.length
      ? found
      : [...found, ...(await this.readAll(names.slice(found.length)))]
  }

  /** Whether what was read under a name is no string, but for instance a list. */
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
      // Replies to other commands are short, and many.
      this.#arrived = this.#awaited === 0 ? 0 : this.#arrived + chunk.length
      if (this.#arrived <= longestReply) return
      this.#cautiousUntil = performance.now() + cautiousMs
      stream.destroy()
    })
  }
}
