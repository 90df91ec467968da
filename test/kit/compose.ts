import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeEach } from '@jest/globals'
import { docker, run } from '../../tools/compose/command.js'
import { containersOf, TEST_PROJECT } from '../../tools/compose/containers.js'

/** A limit in ms for what a container engine or a node does within a few seconds, for slow machines. */
export const patienceMs = 30_000

/** A limit in ms for `heal`, which may have to start all containers one after another. */
const healTimeoutMs = 300_000

/** How long, in ms, a request may take: much longer than any answer. */
const requestTimeoutMs = 20_000

/** Milliseconds between two checks of a condition. */
const pollMs = 20

/**
 * The containers of docker-compose.yml, which `npm run test:compose` has started. Call it at the top of a test file: all
 * tests share the containers, and each test starts with all of them running, connected and ready. CONTRIBUTING.md has a
 * sample.
 */
export async function composeUp(): Promise<ComposeCluster> {
  const project = process.env[TEST_PROJECT]
  if (!project) throw new Error('No containers have been started. Use: npm run test:compose -- FILE')
  const cluster = new ComposeCluster(project, await containersOf(project))
  await cluster.findPorts()
  beforeEach(() => cluster.heal(), healTimeoutMs)
  afterAll(() => cluster.heal(), healTimeoutMs)
  return cluster
}

/** Services are named as in docker-compose.yml, and so are networks. */
export class ComposeCluster {
  readonly #nodes = new Map<string, ComposeNode>()
  readonly #cuts = new Map<string, readonly [service: string, network: string]>()

  constructor(
    readonly project: string,
    private readonly containers: ReadonlyMap<string, string>,
  ) {}

  get services(): readonly string[] {
    return [...this.containers.keys()]
  }

  /** All nodes, without the load balancer. */
  get nodes(): readonly ComposeNode[] {
    return [...this.#nodes.values()].filter(({ name }) => /^node-\d+$/.test(name))
  }

  get loadBalancer(): ComposeNode {
    return this.node('load-balancer')
  }

  /** What answers HTTP on a port of this machine: a node, or the load balancer. */
  node(name: string): ComposeNode {
    const node = this.#nodes.get(name)
    if (!node) throw new Error(`There is no ${name}, but ${[...this.#nodes.keys()].join(', ')}`)
    return node
  }

  /** Disconnects a service from a network, as if the cable were pulled: what it sends is lost. */
  async cut(service: string, network: string): Promise<void> {
    await docker('network', 'disconnect', this.#network(network), this.#container(service))
    this.#cuts.set(`${service} ${network}`, [service, network])
  }

  async reconnect(service: string, network: string): Promise<void> {
    // The alias is the name by which other containers find this one. Compose gave it to the first connection only.
    const alias = ['--alias', service]
    await docker('network', 'connect', ...alias, this.#network(network), this.#container(service))
    this.#cuts.delete(`${service} ${network}`)
  }

  /** Stops all processes of a service where they are. Its connections stay open. */
  async pause(service: string): Promise<void> {
    await docker('pause', this.#container(service))
  }

  async resume(service: string): Promise<void> {
    await docker('unpause', this.#container(service))
  }

  /** Ends a service by SIGKILL. It stays down until `start`. */
  async kill(service: string): Promise<void> {
    await docker('kill', this.#container(service))
  }

  /** Asks a service to end, as a deployment does. */
  async stop(service: string, graceSeconds = 15): Promise<void> {
    await docker('stop', '-t', String(graceSeconds), this.#container(service))
  }

  async start(service: string): Promise<void> {
    await docker('start', this.#container(service))
  }

  /** Reconnects what was cut, resumes what was paused, starts what has ended, and waits until every node is ready. */
  async heal(): Promise<void> {
    for (const cut of this.#cuts.values()) await this.reconnect(...cut)
    for (const [service, { State }] of await this.#inspectAll()) {
      if (State.Status === 'paused') await this.resume(service)
      else if (State.Status !== 'running') await this.start(service)
    }
    for (const node of this.#nodes.values()) {
      await until(`${node.name} is ready and has Redis`, () => node.isReady(), 2 * patienceMs)
    }
  }

  /** The last lines that a service has logged. */
  async logs(service: string, lines = 200): Promise<string> {
    return (await run(['docker', 'logs', '--tail', String(lines), this.#container(service)])).all
  }

  /** Runs a command in the service's container. @returns its standard output */
  exec(service: string, ...command: readonly string[]): Promise<string> {
    return docker('exec', this.#container(service), ...command)
  }

  async inspect(service: string): Promise<Inspection> {
    const [inspection] = JSON.parse(await docker('inspect', this.#container(service))) as Inspection[]
    if (!inspection) throw new Error(`Docker does not know the container of ${service}`)
    return inspection
  }

  /** Whether a network has no way to the outside. */
  async isInternal(network: string): Promise<boolean> {
    const text = await docker('network', 'inspect', '-f', '{{.Internal}}', this.#network(network))
    return text.trim() === 'true'
  }

  /** Asks Docker which services have a port on this machine. `composeUp` has called it. */
  async findPorts(): Promise<void> {
    for (const [service, { HostConfig }] of await this.#inspectAll()) {
      const [port] = Object.values(HostConfig.PortBindings ?? {}).flat()
      if (port) this.#nodes.set(service, new ComposeNode(service, `http://127.0.0.1:${port.HostPort}`))
    }
  }

  async #inspectAll(): Promise<ReadonlyMap<string, Inspection>> {
    const found = JSON.parse(await docker('inspect', ...this.containers.values())) as Inspection[]
    return new Map(this.services.map((service, index) => [service, found[index] as Inspection]))
  }

  #container(service: string): string {
    const container = this.containers.get(service)
    if (!container) throw new Error(`There is no ${service}, but ${this.services.join(', ')}`)
    return container
  }

  readonly #network = (network: string): string => `${this.project}_${network}`
}

/** The part of `docker inspect` that tests look at. */
export interface Inspection {
  readonly RestartCount: number
  readonly State: { readonly Status: string; readonly ExitCode: number; readonly StartedAt: string }
  readonly Config: { readonly User: string }
  readonly HostConfig: {
    readonly PortBindings: Readonly<Record<string, readonly { readonly HostPort: string }[]>> | null
  }
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, readonly unknown[] | null>>
    readonly Networks: Readonly<Record<string, unknown>>
  }
}

export interface Answer<Body = Record<string, unknown>> {
  readonly status: number
  readonly headers: Headers
  readonly body: Body
  /** When the request was sent, in ms of `performance.now()`, and how many ms the answer took. */
  readonly sentAt: number
  readonly tookMs: number
}

type RequestHeaders = Readonly<Record<string, string>>

/** One node, or the load balancer, as a client sees it. */
export class ComposeNode {
  constructor(
    readonly name: string,
    readonly url: string,
  ) {}

  get<Body = Record<string, unknown>>(path: string, headers?: RequestHeaders): Promise<Answer<Body>> {
    return this.#send('GET', path, undefined, headers)
  }

  post<Body = Record<string, unknown>>(
    path: string,
    body?: unknown,
    headers?: RequestHeaders,
  ): Promise<Answer<Body>> {
    return this.#send('POST', path, body, headers)
  }

  put<Body = Record<string, unknown>>(
    path: string,
    body?: unknown,
    headers?: RequestHeaders,
  ): Promise<Answer<Body>> {
    return this.#send('PUT', path, body, headers)
  }

  patch<Body = Record<string, unknown>>(
    path: string,
    body?: unknown,
    headers?: RequestHeaders,
  ): Promise<Answer<Body>> {
    return this.#send('PATCH', path, body, headers)
  }

  delete<Body = Record<string, unknown>>(path: string, headers?: RequestHeaders): Promise<Answer<Body>> {
    return this.#send('DELETE', path, undefined, headers)
  }

  /** Whether it takes requests, with Redis. */
  async isReady(): Promise<boolean> {
    const { status, body } = await this.get<{ checks: { redis: { status: string } } }>('/health/ready')
    return status === 200 && body.checks.redis.status !== 'down'
  }

  async #send<Body>(
    method: string,
    path: string,
    body: unknown,
    headers: RequestHeaders = {},
  ): Promise<Answer<Body>> {
    const sentAt = performance.now()
    const response = await fetch(this.url + path, {
      method,
      signal: AbortSignal.timeout(requestTimeoutMs),
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const tookMs = performance.now() - sentAt
    const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '')
    const parsed: unknown = isJson ? JSON.parse(text) : text
    return { status: response.status, headers: response.headers, body: parsed as Body, sentAt, tookMs }
  }
}

/**
 * Waits until a condition holds: until it neither throws nor returns false.
 *
 * @returns after how many ms it held
 * @throws if it does not hold in time
 */
export async function until(
  what: string,
  condition: () => unknown,
  withinMs: number = patienceMs,
): Promise<number> {
  const startedAt = performance.now()
  for (;;) {
    let failure: unknown
    try {
      const holds = (await condition()) !== false
      const elapsedMs = performance.now() - startedAt
      if (holds && elapsedMs <= withinMs) return Math.round(elapsedMs)
    } catch (error) {
      failure = error
    }
    if (performance.now() - startedAt > withinMs) {
      const reason = failure instanceof Error ? `\n${failure.message}` : ''
      const error = new Error(`Waited ${withinMs} ms in vain: ${what}${reason}`)
      // Without the frames of this file, Jest shows the line of the test.
      Error.captureStackTrace(error, until)
      throw error
    }
    await delay(pollMs)
  }
}
