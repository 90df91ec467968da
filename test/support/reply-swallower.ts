import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface ReplySwallower {
  readonly url: string
  /**
   * The next request that contains the text still reaches the server; its connection ends when the server has
   * done it, and the client never learns.
   */
  swallowReplyTo(text: string): void
  close(): Promise<void>
}

export async function startReplySwallower(target: string): Promise<ReplySwallower> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let wanted: string | undefined
  const server = createServer((near) => {
    const far = connect(Number(port || 5432), hostname)
    let swallowing = false
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
        sockets.delete(socket)
      })
    }
    near.on('data', (chunk) => {
      if (wanted !== undefined && chunk.includes(wanted)) {
        wanted = undefined
        swallowing = true
      }
      far.write(chunk)
    })
    far.on('data', (chunk) => {
      if (swallowing) near.destroy()
      else near.write(chunk)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    swallowReplyTo: (text) => {
      wanted = text
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
