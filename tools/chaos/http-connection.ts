import { connect, type Socket } from 'node:net'

export interface Answer {
  readonly status: number
  /** In lower case. */
  readonly head: string
  readonly body: string
  /** Ms on `performance.now()`. */
  readonly arrivedAt: number
}

/** The request was not answered. It may or may not have been handled. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
}

interface Pending {
  readonly deadline: number
  resolve(answer: Answer): void
  reject(error: Error): void
}

const sweepMs = 250

/**
 * An HTTP/1.1 connection that is kept alive and sends requests without waiting for earlier answers. It understands only what
 * nodes answer here, so it takes little processor time from the nodes on the same machine.
 */
export class HttpConnection {
  #socket: Socket | undefined
  #received = ''
  #pending: Pending[] = []
  readonly #sweep: NodeJS.Timeout

  /** @param timeoutMs how long an answer may take before the connection is closed */
  constructor(
    private readonly port: number,
    private readonly timeoutMs: number,
  ) {
    this.#sweep = setInterval(() => {
      const [oldest] = this.#pending
      if (oldest && performance.now() > oldest.deadline) this.#lose('no answer in time')
    }, sweepMs)
    this.#sweep.unref()
  }

  /** @throws NoAnswer */
  send(request: string): Promise<Answer> {
    const socket = this.#open()
    return new Promise((resolve, reject) => {
      this.#pending.push({ deadline: performance.now() + this.timeoutMs, resolve, reject })
      socket.write(request)
    })
  }

  close(): void {
    clearInterval(this.#sweep)
    this.#lose('closed')
  }

  #open(): Socket {
    if (this.#socket) return this.#socket
    const socket = connect({ port: this.port, host: '127.0.0.1', noDelay: true })
    this.#socket = socket
    this.#received = ''
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      if (this.#socket === socket) this.#receive(text)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#socket === socket) this.#lose('connection lost')
    })
    return socket
  }

  #lose(reason: string): void {
    const pending = this.#pending
    this.#pending = []
    this.#socket?.destroy()
    this.#socket = undefined
    for (const { reject } of pending) reject(new NoAnswer(reason))
  }

  #receive(text: string): void {
    const arrivedAt = performance.now()
    this.#received += text
    for (;;) {
      const headEnd = this.#received.indexOf('\r\n\r\n')
      if (headEnd < 0) return
      const head = this.#received.slice(0, headEnd).toLowerCase()
      const length = Number(headerOf(head, 'content-length') ?? 0)
      const end = headEnd + 4 + length
      if (this.#received.length < end) return
      const body = this.#received.slice(headEnd + 4, end)
      this.#received = this.#received.slice(end)
      this.#pending.shift()?.resolve({ status: Number(head.slice(9, 12)), head, body, arrivedAt })
      if (headerOf(head, 'connection') === 'close') this.#lose('the node closed the connection')
    }
  }
}

/** The value of a header. The head must be in lower case. */
export function headerOf(head: string, name: string): string | undefined {
  const at = head.indexOf(`\r\n${name}: `)
  if (at < 0) return undefined
  const from = at + name.length + 4
  const end = head.indexOf('\r\n', from)
  return end < 0 ? head.slice(from) : head.slice(from, end)
}
