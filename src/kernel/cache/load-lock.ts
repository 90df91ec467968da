import { randomUUID } from 'node:crypto'
import type { Redis, Result } from 'ioredis'
import type { LoadLock } from './shared-tier.js'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    aftercommitLock(
      lock: string,
      position: number,
      required: number,
      token: string,
      ttlMs: number,
    ): Result<[taken: number, loadedMeanwhile: number], Context>
    aftercommitUnlock(lock: string, token: string, loadedForMs: number): Result<number, Context>
  }
}

/**
 * Taken if it is free, or if its holder's load began too early for the caller. A lock without a token was left by a
 * load that has ended: it is free.
 */
const lockScript = `
local holder = redis.call('GET', KEYS[1])
local position, token
if holder then position, token = string.match(holder, '^(%d+):(.*)$') end
local recent = position and tonumber(position) >= tonumber(ARGV[2])
if recent and token ~= '' then return {0, 0} end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[3], 'PX', ARGV[4])
return {1, recent and 1 or 0}`

/** Only by who holds it: a former holder, slower than its lock, must not free another's. */
const unlockScript = `
local holder = redis.call('GET', KEYS[1])
local position, token
if holder then position, token = string.match(holder, '^(%d+):(.*)$') end
if token ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], position .. ':', 'PX', ARGV[2])
return 1`

/**
 * Milliseconds for which a lock says that its load has ended: longer than even a busy node takes from a miss in L2 to
 * asking for the lock.
 */
const loadedForMs = 5_000

export const lockOfNobody: LoadLock = { held: true, loadedMeanwhile: false, release: () => {} }

/** The lock in Redis by which one node of the cluster loads a key. */
export class LoadLocks {
  constructor(private readonly redis: Redis) {
    redis.defineCommand('aftercommitLock', { numberOfKeys: 1, lua: lockScript })
    redis.defineCommand('aftercommitUnlock', { numberOfKeys: 1, lua: unlockScript })
  }

  /** @throws what Redis throws */
  async take(lock: string, position: number, required: number, ttlMs: number): Promise<LoadLock> {
    const token = randomUUID()
    const [taken, loaded] = await this.redis.aftercommitLock(
      lock,
      position,
      required,
      token,
      Math.ceil(ttlMs),
    )
    if (taken !== 1) return { held: false }
    return {
      held: true,
      loadedMeanwhile: loaded === 1,
      // What cannot be freed is free when its time is over.
      release: (done) => {
        this.redis.aftercommitUnlock(lock, token, done ? loadedForMs : 0).catch(() => {})
      },
    }
  }
}
