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

/** Bytes of the values in one reply, from which on the rest of them is left to the next. */
const largestReply = 4 * 1_048_576

/**
 * `MGET`, but of each value only what is not too long. `STRLEN` and `MGET` would be two calls for each key, and a
 * pipeline of `GETRANGE` takes five times as long in this process.
 */
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

/**
 * Reads of keys that somebody else may have written to. A reply is in memory as a whole before anybody can look at its
 * length, so Redis is asked for no more of a value than an entry can have.
 */
export class BoundedReads {
  /** @param longest bytes of the longest value that is of any use; of a longer one come as many and one more */
  constructor(
    private readonly redis: Redis,
    private readonly longest: number,
  ) {
    redis.defineCommand('aftercommitRead', { lua: readScript })
  }

  /**
   * @returns in the order of the names, empty where there is nothing; fewer than there are names, but one at least, where
   *   all together would be too much
   * @throws what Redis throws
   */
  async read(names: readonly string[]): Promise<readonly Buffer[]> {
    const [first] = names
    return names.length === 1 && first !== undefined
      ? [await this.#readOne(first)]
      : this.redis.aftercommitReadBuffer(names.length, names, this.longest, largestReply)
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

  #readOne(name: string): Promise<Buffer> {
    return this.redis.getrangeBuffer(name, 0, this.longest).catch((error: unknown) => {
      if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return otherType
      throw error
    })
  }
}
