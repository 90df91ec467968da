import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** Stands between a node and a server, to cut the cable between them. */
export interface TcpProxy {
  readonly url: string
  /** From now on nothing passes and nobody is told, as when a cable is pulled. */
  cut(): void
  /** Drops every connection and lets new ones through. */
  restore(): void
  close(): Promise<void>
}

export async function startProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target)
  const pairs = new Set<readonly [Socket, Socket | undefined]>()
  let open = true
  const server = createServer((near) => {
    const far = open ? connect(Number(port), hostname) : undefined
    const pair = [near, far] as const
    pairs.add(pair)
    for (const socket of [near, far]) {
      socket?.on('error', () => {})
      socket?.on('close', () => {
        near.destroy()
        far?.destroy()
        pairs.delete(pair)
      })
    }
    near.on('data', (chunk) => open && far?.write(chunk))
    far?.on('data', (chunk) => open && near.write(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(target)
  url.port = String((server.address() as AddressInfo).port)
  const dropAll = () => {
    for (const [near, far] of pairs) {
      near.destroy()
      far?.destroy()
    }
  }
  return {
    url: url.href,
    cut: () => {
      open = false
    },
    restore: () => {
      open = true
      dropAll()
    },
    close: async () => {
      dropAll()
      server.close()
      await once(server, 'close')
    },
  }
}
