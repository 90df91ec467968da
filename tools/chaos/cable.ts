import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Bytes on their way from one end to the other; `undefined` stands for the end of the connection. */
interface Parcel {
  readonly dueAt: number
  readonly bytes: Buffer | undefined
}

/** One direction of a connection. It keeps the order of the bytes, whatever the delay is. */
class Lane {
  readonly #parcels: Parcel[] = []
  #lastDueAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    from: Socket,
    private readonly to: Socket,
    private readonly cable: Cable,
  ) {
    from.on('data', (bytes) => this.#take(bytes))
    from.on('close', () => this.#take(undefined))
  }

  pump(): void {
    clearTimeout(this.#timer)
    if (this.cable.isCut) return
    const now = performance.now()
    for (let parcel = this.#parcels[0]; parcel; parcel = this.#parcels[0]) {
      if (parcel.dueAt > now) {
        this.#timer = setTimeout(() => this.pump(), parcel.dueAt - now)
        return
      }
      this.#parcels.shift()
      this.#pass(parcel.bytes)
    }
  }

  drop(): void {
    clearTimeout(this.#timer)
    this.#parcels.length = 0
  }

  #take(bytes: Buffer | undefined): void {
    if (!this.cable.isCut && this.cable.delayMs === 0 && this.#parcels.length === 0) {
      this.#pass(bytes)
      return
    }
    // A later parcel never overtakes an earlier one, even if the delay has become shorter.
    this.#lastDueAt = Math.max(this.#lastDueAt, performance.now() + this.cable.delayMs)
    this.#parcels.push({ dueAt: this.#lastDueAt, bytes })
    if (this.#parcels.length === 1) this.pump()
  }

  #pass(bytes: Buffer | undefined): void {
    if (this.to.destroyed) return
    if (bytes === undefined) this.to.destroy()
    else this.to.write(bytes)
  }
}

interface Connection {
  readonly near: Socket
  readonly far: Socket
  readonly lanes: readonly [Lane, Lane]
}

/**
 * The network cable between one node and one server. It is a TCP proxy that can be cut, made slow, reset, and plugged into
 * another server. All traffic between a node and Postgres or Redis goes through such a cable.
 */
export class Cable {
  readonly #connections = new Set<Connection>()
  #cuts = 0
  #delays: number[] = []

  private constructor(
    private readonly server: Server,
    private targetPort: number,
  ) {}

  static async to(targetPort: number): Promise<Cable> {
    const server = createServer()
    const cable = new Cable(server, targetPort)
    server.on('connection', (near) => cable.#connect(near))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return cable
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get isCut(): boolean {
    return this.#cuts > 0
  }

  get delayMs(): number {
    return this.#delays.reduce((sum, delay) => sum + delay, 0)
  }

  /** Stops all bytes without closing connections, like a pulled cable. Two faults may cut it at the same time. */
  cut(): void {
    this.#cuts++
  }

  /**
   * Ends one cut.
   *
   * @param late whether bytes sent meanwhile are delivered now, like TCP does after a short cut; otherwise connections break
   */
  mend(late: boolean): void {
    this.#cuts--
    if (this.isCut) return
    if (!late) this.reset()
    for (const { lanes } of this.#connections) for (const lane of lanes) lane.pump()
  }

  /** Delays both directions until the returned function is called. */
  delay(ms: number): () => void {
    this.#delays.push(ms)
    return () => {
      this.#delays.splice(this.#delays.indexOf(ms), 1)
    }
  }

  /** Closes every connection. New ones are possible. */
  reset(): void {
    for (const { near, far, lanes } of this.#connections) {
      for (const lane of lanes) lane.drop()
      near.destroy()
      far.destroy()
    }
  }

  /** Connects to another server from now on. */
  plugInto(targetPort: number): void {
    this.targetPort = targetPort
    this.reset()
  }

  close(): void {
    this.reset()
    this.server.close()
  }

  #connect(near: Socket): void {
    const far = connect(this.targetPort, '127.0.0.1')
    near.setNoDelay(true)
    far.setNoDelay(true)
    const connection: Connection = {
      near,
      far,
      lanes: [new Lane(near, far, this), new Lane(far, near, this)],
    }
    this.#connections.add(connection)
    for (const socket of [near, far]) {
      socket.on('error', () => {})
      socket.on('close', () => {
        if (near.destroyed && far.destroyed) this.#connections.delete(connection)
      })
    }
  }
}
