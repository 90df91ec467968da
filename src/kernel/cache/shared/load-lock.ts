import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Redis, Result } from 'ioredis'
import type { ClusterClock } from '../../journal/cluster-clock.js'
import { Mac } from '../../journal/mac.js'
import { type LoadLock, lockOfNobody } from './shared-tier.js'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    aftercommitLockBuffer(
      lock: string,
      position: number,
      required: number,
      token: string,
      ttlMs: number,
      forged: Buffer | string,
    ): Result<[taken: number, loadedMeanwhile: number, holder: Buffer], Context>
    aftercommitUnlock(lock: string, token: string, loadedForMs: number): Result<number, Context>
  }
}

/** Changes whenever locks are written differently, so that two releases do not use each other's locks. */
export const lockVersion = 4

/** Characters of a lock: `position:token`, and in the token `over.nonce.signature`. */
const longestLock = 128
const lockPattern = /^(\d{1,16}):((\d{1,16})\.[0-9a-f]{16})\.([0-9a-f]{32})$/

/** Reads the lock, whatever is stored there: somebody may have put a list under its name, or a long text. */
const readHolder = `
local holder = redis.pcall('GETRANGE', KEYS[1], 0, ${longestLock})
if type(holder) == 'table' then
  redis.call('UNLINK', KEYS[1])
  holder = ''
end
local position, token = string.match(holder, '^(%d+):(.*)$')`

/**
 * Taken if it is free, or if its holder's load began too early for the caller. A lock without a token was left by a
 * load that has ended: it is free. A lock that the caller has found to be forged counts as free, too.
 */
const lockScript = `${readHolder}
local recent = position and tonumber(position) >= tonumber(ARGV[2])
if recent and token ~= '' and holder ~= ARGV[5] then return {0, 0, holder} end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[3], 'PX', ARGV[4])
return {1, recent and token == '' and 1 or 0, ''}`

/** Only by who holds it: a former holder, slower than its lock, must not free another's. */
const unlockScript = `${readHolder}
if token ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], position .. ':', 'PX', ARGV[2])
return 1`

/**
 * Milliseconds for which a lock says that its load has ended: longer than even a busy node takes from a miss in L2 to
 * asking for the lock.
 */
const loadedForMs = 5_000

/**
 * The lock in Redis by which one node of the cluster loads a key.
 *
 * A node that finds a lock waits for somebody else's load. So the lock is signed, together with its name and the time at which
 * it expires. Otherwise somebody with access to Redis alone could make every load wait for one that nobody has begun.
 */
export class LoadLocks {
  readonly #mac: Mac

  /** @param clock in ms; the clocks of all nodes agree to within a few ms */
  constructor(
    private readonly redis: Redis,
    installation: { readonly secret: Buffer },
    private readonly clock: Pick<ClusterClock, 'now'>,
  ) {
    this.#mac = new Mac(installation)
    redis.defineCommand('aftercommitLock', { numberOfKeys: 1, lua: lockScript })
    redis.defineCommand('aftercommitUnlock', { numberOfKeys: 1, lua: unlockScript })
  }

  /** @throws what Redis throws */
  async take(lock: string, position: number, required: number, ttlMs: number): Promise<LoadLock> {
    const ttl = Math.ceil(ttlMs)
    const token = this.#tokenOf(lock, position, ttl)
    const attempt = (forged: Buffer | string) =>
      this.redis.aftercommitLockBuffer(lock, position, required, token, ttl, forged)
    let [taken, loaded, holder] = await attempt('')
    if (taken !== 1 && !this.#isHeldBy(lock, holder)) {
      ;[taken, loaded, holder] = await attempt(holder)
      // Forged again in between. This node loads without a lock, so that forged locks cannot make it wait.
      if (taken !== 1 && !this.#isHeldBy(lock, holder)) return lockOfNobody
    }
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

  #tokenOf(lock: string, position: number, ttlMs: number): string {
    const content = `${Math.round(this.clock.now() + ttlMs)}.${randomBytes(8).toString('hex')}`
    return `${content}.${this.#sign(lock, `${position}:${content}`)}`
  }

  /** Whether a node took this lock, and it has not expired. Somebody may have made Redis keep or restore an expired lock. */
  #isHeldBy(lock: string, holder: Buffer): boolean {
    const [, position, content, over, signature] = lockPattern.exec(holder.toString('latin1')) ?? []
    if (!content || !signature || Number(over) < this.clock.now()) return false
    return isSame(signature, this.#sign(lock, `${position}:${content}`))
  }

  #sign(lock: string, text: string): string {
    const write = (input: Buffer, start: number): number => start + input.write(text, start, 'latin1')
    return this.#mac.of(lock, text.length, write, 'hex').slice(0, 32)
  }
}

function isSame(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1'))
}
