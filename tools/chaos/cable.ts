import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** What one end sent and the other one has not got yet; `undefined` is its end. */
interface Parcel {
  readonly dueAt: number
  readonly bytes: Buffer | undefined
}

/** One way of a connection: keeps the order, whatever the delay. */
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
    // A later parcel never overtakes an earlier one, also when the delay has become shorter.
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
 * The cable between one node and one server: a TCP proxy that can be pulled, cut, made slow, and plugged into
 * another server. Everything that a node says to Postgres and to Redis goes through one.
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

  /** From now on nothing passes and nobody is told, as when a cable is pulled. Two faults may do so at once. */
  cut(): void {
    this.#cuts++
  }

  /**
   * Takes one cut back.
   *
   * @param late whether what was sent meanwhile is delivered now, as TCP does if the cut was short
   */
  mend(late: boolean): void {
    this.#cuts--
    if (this.isCut) return
    if (!late) this.reset()
    for (const { lanes } of this.#connections) for (const lane of lanes) lane.pump()
  }

  /** Slows both ways down, until the returned function is called. */
  delay(ms: number): () => void {
    this.#delays.push(ms)
    return () => {
      this.#delays.splice(this.#delays.indexOf(ms), 1)
    }
  }

  /** Drops every connection; new ones go through. */
  reset(): void {
    for (const { near, far, lanes } of this.#connections) {
      for (const lane of lanes) lane.drop()
      near.destroy()
      far.destroy()
    }
  }

  /** Leads to another server from now on. */
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
