import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { Cable } from '../../../tools/chaos/cable.js'

/** Answers each byte with the same one, and a letter of its own before the first. */
async function startEcho(name: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write(name)
    socket.on('data', (bytes) => socket.write(bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

const portOf = (server: Server) => (server.address() as AddressInfo).port

describe('the cable between a node and a server', () => {
  let first: Server
  let second: Server
  let cable: Cable
  let client: Socket
  let received: string

  beforeEach(async () => {
    first = await startEcho('A')
    second = await startEcho('B')
    cable = await Cable.to(portOf(first))
    await dial()
  })
  afterEach(() => {
    client.destroy()
    cable.close()
    first.close()
    second.close()
  })

  async function dial(): Promise<void> {
    received = ''
    client = connect(cable.port, '127.0.0.1')
    client.on('error', () => {})
    client.on('data', (bytes) => {
      received += bytes.toString()
    })
    await once(client, 'connect')
  }

  /** Also where it ends with an error. */
  function closing(): Promise<void> {
    return new Promise((resolve) => client.once('close', () => resolve()))
  }

  async function hears(text: string): Promise<void> {
    const deadline = performance.now() + 5_000
    while (received !== text && performance.now() < deadline) await sleep(5)
    expect(received).toBe(text)
  }

  test('cut, lets nothing through and breaks nothing; mended, it delivers late what was sent', async () => {
    await hears('A')
    cable.cut()
    client.write('1')
    await sleep(50)
    expect([received, client.destroyed]).toEqual(['A', false])
    cable.mend(true)
    await hears('A1')
  })

  test('cut twice, must be mended twice', async () => {
    await hears('A')
    cable.cut()
    cable.cut()
    client.write('1')
    cable.mend(true)
    await sleep(50)
    expect(received).toBe('A')
    cable.mend(true)
    await hears('A1')
  })

  test('mended without delivery, it has lost its connections', async () => {
    await hears('A')
    cable.cut()
    client.write('1')
    const closed = closing()
    cable.mend(false)
    await closed
    expect(received).toBe('A')
  })

  test('slow, delivers in order, also when it becomes faster meanwhile', async () => {
    await hears('A')
    const end = cable.delay(60)
    client.write('1')
    await sleep(20)
    end()
    client.write('2')
    await hears('A12')
  })

  test('plugged into another server, leads to it and to nobody else', async () => {
    await hears('A')
    const closed = closing()
    cable.plugInto(portOf(second))
    await closed
    await dial()
    client.write('1')
    await hears('B1')
  })
})
