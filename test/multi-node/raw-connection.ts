import { connect, type Socket } from 'node:net'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { until } from './client.js'

/** A connection on which a test sends what it likes, byte by byte, and reads when it likes. */
export interface RawConnection {
  readonly socket: Socket
  /** What has been read so far. */
  received(): string
  isClosed(): boolean
  /** Waits until what was read contains a text. */
  reads(text: string): Promise<void>
  closes(limitMs?: number): Promise<void>
}

export async function openRaw(node: Pick<NodeProcess, 'port'>): Promise<RawConnection> {
  const socket = connect(node.port, '127.0.0.1')
  let text = ''
  let closed = false
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  await new Promise((resolve) => socket.once('connect', resolve))
  return {
    socket,
    received: () => text,
    isClosed: () => closed,
    reads: (part) =>
      until(`${JSON.stringify(part)} is read, not ${JSON.stringify(text.slice(0, 200))}`, () =>
        text.includes(part),
      ),
    closes: (limitMs) => until('the connection is closed', () => closed, limitMs),
  }
}

/** Sends one request as it stands, and reads until the node closes: it has to contain `Connection: close`. */
export async function sendRaw(
  node: Pick<NodeProcess, 'port'>,
  request: string | Buffer,
): Promise<{ status: number; text: string }> {
  const connection = await openRaw(node)
  connection.socket.write(request)
  await connection.closes()
  const text = connection.received()
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]), text }
}
