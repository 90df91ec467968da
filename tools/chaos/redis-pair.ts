import { copyFile } from 'node:fs/promises'
import { Redis } from 'ioredis'
import { type RedisServer, startRedis } from '../local-stack/index.js'
import { Cable } from './cable.js'

/** A Redis and its replica, which are connected by a cable. If that is cut, the replica silently lags. */
export class RedisPair {
  private constructor(
    private primary: RedisServer,
    private replica: RedisServer,
    private cable: Cable,
  ) {}

  /** @param folder a reaped folder */
  static async start(folder: string): Promise<RedisPair> {
    const [primary, replica] = [await startRedis(folder), await startRedis(folder)]
    const pair = new RedisPair(primary, replica, await Cable.to(primary.port))
    await pair.#follow()
    return pair
  }

  get port(): number {
    return this.primary.port
  }

  /** Sends one command to the primary. Returns undefined if it fails. */
  async command(...args: [string, ...string[]]): Promise<unknown> {
    return send(this.primary.url, args)
  }

  async restartEmpty(downMs: number, pause: (ms: number) => Promise<void>): Promise<void> {
    await this.primary.kill()
    await pause(downMs)
    await this.primary.start()
  }

  /** Saves the present data in a file, for `setBack`. */
  async snapshot(): Promise<string> {
    await this.command('SAVE')
    const file = `${this.primary.dumpFile}.kept`
    await copyFile(this.primary.dumpFile, file)
    return file
  }

  async setBack(rdbFile: string, downMs: number, pause: (ms: number) => Promise<void>): Promise<void> {
    await this.primary.kill()
    await pause(downMs)
    await this.primary.start({ rdbFile })
  }

  hang(): void {
    this.primary.pause()
  }

  resume(): void {
    this.primary.resume()
  }

  /** From now on the replica gets no changes. */
  lag(): void {
    this.cable.cut()
  }

  /** Makes the lagging replica the primary, and kills the old primary. `rejoin` brings that back as the replica. */
  async failOver(): Promise<void> {
    await send(this.replica.url, ['REPLICAOF', 'NO', 'ONE'])
    const old = this.primary
    ;[this.primary, this.replica] = [this.replica, old]
    await old.kill()
  }

  async rejoin(): Promise<void> {
    this.cable.close()
    await this.replica.start()
    this.cable = await Cable.to(this.primary.port)
    await this.#follow()
  }

  close(): void {
    this.cable.close()
  }

  async #follow(): Promise<void> {
    await send(this.replica.url, ['REPLICAOF', '127.0.0.1', String(this.cable.port)])
  }
}

async function send(url: string, [name, ...args]: readonly [string, ...string[]]): Promise<unknown> {
  const client = new Redis(url, { commandTimeout: 3_000, retryStrategy: () => null })
  client.on('error', () => {})
  try {
    return await client.call(name, ...args)
  } catch {
    return undefined
  } finally {
    client.disconnect()
  }
}
