import { Redis } from 'ioredis'

/** Longest pause in ms between two attempts to reconnect. */
const longestRetryMs = 500

/**
 * A connection that fails at once while Redis is away: nothing in this service may wait for Redis, and what
 * was queued meanwhile would be old news when it is delivered.
 *
 * @param timeoutMs milliseconds until a command, or an attempt to connect, is given up
 */
export function createRedis(url: string, timeoutMs: number, name: string): Redis {
  return new Redis(url, {
    lazyConnect: true,
    connectionName: name,
    connectTimeout: Math.max(timeoutMs, 1_000),
    commandTimeout: timeoutMs,
    // How long a connection that is given up may still look alive.
    disconnectTimeout: timeoutMs,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    // What is pipelined waits until the event loop comes round again: hints do not, and reads of L2 have done so already.
    autoPipeliningIgnoredCommands: ['publish', 'getrange', 'mget', 'aftercommitRead'],
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * 50, longestRetryMs),
  })
}
