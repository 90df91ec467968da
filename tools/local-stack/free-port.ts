import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// The ports are below the range that Linux (from 32768) and macOS (from 49152) use for outgoing connections. Any client could
// take a port from that range while its server is down, and the server could not start again. Also, a client that keeps
// trying such a port can connect to itself.
const LOWEST = 15_000
const HIGHEST = 32_000
const ATTEMPTS = 20

// Counted up instead of drawn each time, so that servers that start together in this process get different ports.
let candidate = randomInt(LOWEST, HIGHEST)

/** A server could not listen, because another process uses its port. */
export class PortTaken extends Error {
  constructor(port: number) {
    super(`Port ${port} on 127.0.0.1 is taken by another process`)
    this.name = 'PortTaken'
  }
}

/** Whether a process could listen on a port at this moment. */
export function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

/** Returns a port on 127.0.0.1 that was free a moment ago. */
async function pickFreePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    candidate = candidate + 1 < HIGHEST ? candidate + 1 : LOWEST
    const port = candidate
    if (await isFree(port)) return port
  }
  throw new Error(`No free port on 127.0.0.1 after ${ATTEMPTS} attempts`)
}

/**
 * Starts a server on a free port of 127.0.0.1. Another process can take the port before the server listens. `start` then
 * rejects with {@link PortTaken}, and another port is tried.
 *
 * @throws any other error of `start`, or the last `PortTaken`
 */
export async function onFreePort<Server>(start: (port: number) => Promise<Server>): Promise<Server> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(await pickFreePort())
    } catch (error) {
      if (!(error instanceof PortTaken) || attempt === ATTEMPTS) throw error
    }
  }
}
