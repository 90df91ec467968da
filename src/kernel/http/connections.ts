import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { isWorthALine } from '../observability/log-sampling.js'
import type { Logger } from '../observability/logger.js'

export interface ConnectionLimits {
  /** The most connections that one node has open at a time. */
  readonly maxConnections: number
  /** Milliseconds after which a client that reads nothing of its answer is disconnected. */
  readonly answerTimeoutMs: number
  /** Milliseconds that the server, when it closes, waits for requests under way. */
  readonly closeTimeoutMs: number
}

/** Bytes of the longest request body; a longer one is refused. */
export const bodyLimit = 1_048_576

/** How often each connection is checked within one answer timeout. */
const looks = 10
/** The most pipelined requests that wait for their turn, on all connections together. */
const waitingLimit = 10_000
/**
 * Bodies and answers of at least `largeMessage` bytes may take at most `heldLimit` bytes together. They need a limit because
 * the clients decide how long they stay in memory.
 */
const largeMessage = 16_384
const heldLimit = 67_108_864

interface Connection {
  readonly socket: Socket
  /** Created once for each connection, not for each request. */
  readonly onAnswered: () => void
  /** The request that is being answered. */
  answering: IncomingMessage | undefined
  /** Starts the next requests of this connection, which have arrived already. */
  readonly waiting: (() => void)[]
  /** The estimated bytes of a large body or answer in memory. */
  held: number
  /** Bytes that had arrived on the connection when the present request started. */
  arrivedBefore: number
  /** How many bytes the client had read at the last check, and the number of checks since it last read any. */
  taken: number
  looksInVain: number
}

/**
 * Limits what the clients of one server cost. A client may not read its answers, may send requests without waiting for
 * answers, or may open connections and send nothing. It costs a limited amount of memory for a limited time, and does not
 * keep the server from closing.
 */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  /** Connections with a large message in memory; first those that have had it for longest. */
  readonly #holding = new Set<Connection>()
  #held = 0
  #waiting = 0
  #cut = 0
  #isClosing = false

  constructor(
    server: Server,
    private readonly limits: ConnectionLimits,
    private readonly logger: Logger,
  ) {
    let looking: NodeJS.Timeout | undefined
    server.on('connection', (socket) => this.#add(socket))
    server.on('listening', () => {
      looking = setInterval(() => this.#look(), limits.answerTimeoutMs / looks).unref()
    })
    server.on('close', () => clearInterval(looking))
  }

  /**
   * Handles a request once all earlier ones of the same connection are answered. One read of the socket can bring thousands
   * of requests. Node alone would start all of them, and keep their answers in memory until the client has read the first.
   */
  admit(request: IncomingMessage, response: ServerResponse, handle: RequestListener): void {
    const connection = this.#open.get(request.socket)
    if (!connection) return
    if (!connection.answering) this.#begin(connection, request, response, handle)
    else if (this.#waiting >= waitingLimit) this.#close(connection, 'too many pipelined requests wait')
    else {
      this.#waiting++
      connection.waiting.push(() => this.#begin(connection, request, response, handle))
    }
  }

  /** Must be called before an answer of `length` characters is written. */
  countAnswer(socket: Socket, length: number): void {
    const connection = length < largeMessage ? undefined : this.#open.get(socket)
    if (!connection) return
    // The connection moves to the end of the order: its time with the body does not count for the answer.
    this.#release(connection)
    this.#hold(connection, length)
  }

  /**
   * Closes connections without a complete request at once. Closes the others when they are answered, or when
   * `closeTimeoutMs` is over. Must be called before the server stops listening.
   */
  close(): void {
    this.#isClosing = true
    for (const { socket, answering } of this.#open.values()) if (!answering?.complete) socket.destroy()
    setTimeout(() => {
      for (const connection of this.#open.values()) this.#close(connection, 'the node stops')
    }, this.limits.closeTimeoutMs).unref()
  }

  #add(socket: Socket): void {
    // It connected just before the server stopped listening.
    if (this.#isClosing) return void socket.destroy()
    if (this.#open.size >= this.limits.maxConnections && !this.#makeRoom()) {
      this.#report('all connections are busy')
      return void socket.destroy()
    }
    const connection: Connection = {
      socket,
      onAnswered: () => this.#answered(connection),
      answering: undefined,
      waiting: [],
      held: 0,
      arrivedBefore: 0,
      taken: 0,
      looksInVain: 0,
    }
    this.#open.set(socket, connection)
    socket.once('close', () => this.#remove(connection))
  }

  /** Closes the oldest connection that is not being answered. */
  #makeRoom(): boolean {
    for (const connection of this.#open.values()) {
      if (connection.answering) continue
      this.#close(connection, 'a new connection needs its place')
      return true
    }
    return false
  }

  #begin(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    handle: RequestListener,
  ): void {
    connection.answering = request
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
    if (length !== undefined) this.#holdBody(connection, Number(length))
    else if (encoding !== undefined) connection.arrivedBefore = connection.socket.bytesRead
    response.on('close', connection.onAnswered)
    handle(request, response)
  }

  #answered(connection: Connection): void {
    if (connection.held > 0) this.#release(connection)
    connection.answering = undefined
    const next = connection.waiting.shift()
    if (next) {
      this.#waiting--
      next()
    } else if (this.#isClosing) connection.socket.destroySoon()
  }

  #holdBody(connection: Connection, bytes: number): void {
    if (bytes >= largeMessage && bytes <= bodyLimit) this.#hold(connection, bytes)
  }

  /** If all connections together hold too much, closes those that have held theirs for longest. */
  #hold(connection: Connection, bytes: number): void {
    this.#held += bytes - connection.held
    connection.held = bytes
    this.#holding.add(connection)
    for (const longest of this.#holding) {
      if (this.#held <= heldLimit || longest === connection) return
      this.#close(
        longest,
        'all clients together hold too much memory, and this one has held its part for longest',
      )
    }
  }

  #release(connection: Connection): void {
    this.#held -= connection.held
    connection.held = 0
    this.#holding.delete(connection)
  }

  #remove(connection: Connection): void {
    if (!this.#open.delete(connection.socket)) return
    this.#release(connection)
    this.#waiting -= connection.waiting.length
    connection.waiting.length = 0
  }

  /** Closes connections whose client read nothing of its answer within the timeout. */
  #look(): void {
    for (const connection of this.#open.values()) {
      const { socket, answering, arrivedBefore } = connection
      // The length of a chunked body is not known in advance, so what has arrived is counted.
      if (answering?.headers['transfer-encoding'] !== undefined && !answering.complete)
        this.#holdBody(connection, socket.bytesRead - arrivedBefore)
      const unsent = socket.writableLength
      const taken = socket.bytesWritten - unsent
      // A client that has read its last answer and does not hang up counts as stuck as well.
      const isStuck = unsent === 0 ? socket.writableEnded : taken === connection.taken
      connection.taken = taken
      connection.looksInVain = isStuck ? connection.looksInVain + 1 : 0
      if (connection.looksInVain >= looks)
        this.#close(connection, 'the client did not read its answer, or did not hang up after it')
    }
  }

  #close(connection: Connection, reason: string): void {
    this.#report(reason)
    // Removed now, because the `close` event of the socket comes later.
    this.#remove(connection)
    connection.socket.destroy()
  }

  #report(reason: string): void {
    this.#cut++
    if (isWorthALine(this.#cut)) this.logger.info({ reason, closed: this.#cut }, 'a connection was closed')
  }
}
