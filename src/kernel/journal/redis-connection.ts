import { Redis } from 'ioredis'

/** The longest pause between two attempts to reconnect, in ms. */
const longestRetryMs = 500

/**
 * Creates a connection whose commands fail at once while Redis is away. Nothing in this service may wait for Redis, and
 * queued commands would be out of date when they were sent.
 *
 * @param timeoutMs milliseconds after which a command fails; an attempt to connect has at least 1,000
 */
export function createRedis(url: string, timeoutMs: number, name: string): Redis {
  return new Redis(url, {
    lazyConnect: true,
    connectionName: name,
    connectTimeout: Math.max(timeoutMs, 1_000),
    commandTimeout: timeoutMs,
    // How long a connection that was closed here may still look alive.
    disconnectTimeout: timeoutMs,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    // Pipelined commands wait for the next turn of the event loop. Hints should not wait, and reads of L2 have waited already.
    autoPipeliningIgnoredCommands: ['publish', 'getrange', 'mget', 'aftercommitRead'],
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * 50, longestRetryMs),
  })
}
