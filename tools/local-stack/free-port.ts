import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Below the range from which Linux (32768) and macOS (49152) take ports for outgoing connections. A port from
// that range could be lost to any client while its server is down, so that it cannot come back; and a client
// that keeps dialling it would now and then connect to itself.
const LOWEST = 15_000
const HIGHEST = 32_000
const ATTEMPTS = 20

// Counted up, and not drawn each time: servers that start at once in this process never get the same one.
let candidate = randomInt(LOWEST, HIGHEST)

/** A server could not listen because its port belongs to another process. */
export class PortTaken extends Error {
  constructor(port: number) {
    super(`Port ${port} on 127.0.0.1 is taken by another process`)
    this.name = 'PortTaken'
  }
}

/** Whether nobody listens on a port of 127.0.0.1 at this moment. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

/** A port on 127.0.0.1 that was free a moment ago. */
async function pickFreePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    candidate = candidate + 1 < HIGHEST ? candidate + 1 : LOWEST
    const port = candidate
    if (await isFree(port)) return port
  }
  throw new Error(`No free port on 127.0.0.1 after ${ATTEMPTS} attempts`)
}

/**
 * Starts a server on a free port of 127.0.0.1, and on another one when `start` rejects with {@link PortTaken}:
 * between picking and binding, any other process may take it.
 *
 * @throws whatever else `start` rejects with, or the last `PortTaken`
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
