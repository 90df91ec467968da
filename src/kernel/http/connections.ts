import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { isWorthALine } from '../observability/log-sampling.js'
import type { Logger } from '../observability/logger.js'

export interface ConnectionLimits {
  /** Connections that one node has open at a time. */
  readonly maxConnections: number
  /** Milliseconds in which a client has to take something of an answer. */
  readonly answerTimeoutMs: number
  /** Milliseconds that requests under way may go on for once the server is closing. */
  readonly closeTimeoutMs: number
}

/** Bytes of a request body that is read; a longer one is refused. */
export const bodyLimit = 1_048_576

/** Looks at every connection within one answer timeout. */
const looks = 10
/** Pipelined requests, of all connections, that may wait for their turn. */
const waitingLimit = 10_000
/**
 * Bytes from which a body that arrives, or an answer that is being taken, is counted, and of all these together: how
 * long they stay in memory is for clients to decide.
 */
const largeMessage = 16_384
const heldLimit = 67_108_864

interface Connection {
  readonly socket: Socket
  /** Made once, and not with each request. */
  readonly onAnswered: () => void
  /** The request that is being answered. */
  answering: IncomingMessage | undefined
  /** What begins the next requests, which have arrived already. */
  readonly waiting: (() => void)[]
  /** Bytes of a large body or answer in memory; an estimate. */
  held: number
  /** Bytes that had arrived when the request began. */
  arrivedBefore: number
  /** Bytes that the client had taken at the last look, and the looks since it last took any. */
  taken: number
  looksInVain: number
}

/**
 * What one server's clients may cost. A client that does not read its answers, or sends requests without waiting
 * for them, or opens connections and says nothing, costs a bounded amount of memory for a bounded time, and does not
 * keep the server from closing.
 */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  /** Those that hold a large message, the longest first. */
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
   * Has a request handled once all earlier ones of the same connection are answered. Node would begin all that one
   * read brought, thousands, and hold their answers in memory until the first has been taken.
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

  /** To be told before an answer of so many characters is written. */
  countAnswer(socket: Socket, length: number): void {
    const connection = length < largeMessage ? undefined : this.#open.get(socket)
    if (!connection) return
    // It has not held this one for as long as the body before it.
    this.#release(connection)
    this.#hold(connection, length)
  }

  /**
   * Closes at once what has no complete request, and the others when they are answered, or when their time is over.
   * To be called before the server stops listening.
   */
  close(): void {
    this.#isClosing = true
    for (const { socket, answering } of this.#open.values()) if (!answering?.complete) socket.destroy()
    setTimeout(() => {
      for (const connection of this.#open.values()) this.#close(connection, 'the node stops')
    }, this.limits.closeTimeoutMs).unref()
  }

  #add(socket: Socket): void {
    // It has connected just before the server stopped listening.
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
      this.#close(connection, 'a new one needs its place')
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

  /** Where all connections together hold too much, those that have held theirs for longest are given up. */
  #hold(connection: Connection, bytes: number): void {
    this.#held += bytes - connection.held
    connection.held = bytes
    this.#holding.add(connection)
    for (const longest of this.#holding) {
      if (this.#held <= heldLimit || longest === connection) return
      this.#close(longest, 'all clients together hold too much, and this one has done so for longest')
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

  /** A client that takes nothing of its answer at all looks within the timeout will not take it. */
  #look(): void {
    for (const connection of this.#open.values()) {
      const { socket, answering, arrivedBefore } = connection
      // A body of a length that nobody has declared.
      if (answering?.headers['transfer-encoding'] !== undefined && !answering.complete)
        this.#holdBody(connection, socket.bytesRead - arrivedBefore)
      const unsent = socket.writableLength
      const taken = socket.bytesWritten - unsent
      // Also a client that has had its last answer and does not hang up.
      const isStuck = unsent === 0 ? socket.writableEnded : taken === connection.taken
      connection.taken = taken
      connection.looksInVain = isStuck ? connection.looksInVain + 1 : 0
      if (connection.looksInVain >= looks) this.#close(connection, 'its answer was not taken')
    }
  }

  #close(connection: Connection, reason: string): void {
    this.#report(reason)
    // Now, as its `close` event comes later.
    this.#remove(connection)
    connection.socket.destroy()
  }

  #report(reason: string): void {
    this.#cut++
    if (isWorthALine(this.#cut)) this.logger.info({ reason, closed: this.#cut }, 'a connection was closed')
  }
}
