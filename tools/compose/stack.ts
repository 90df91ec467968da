import { spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

// This file runs from dist/tools/compose/.
const root = fileURLToPath(new URL('../../../', import.meta.url))

export const nodeNames = ['node-1', 'node-2', 'node-3'] as const
export type NodeName = (typeof nodeNames)[number]
export type ServiceName = NodeName | 'postgres' | 'redis' | 'load-balancer'
export const serviceNames: readonly ServiceName[] = [...nodeNames, 'postgres', 'redis', 'load-balancer']

/** The part of `docker inspect` that the tests look at. */
export interface Inspection {
  readonly RestartCount: number
  readonly State: { readonly Status: string; readonly ExitCode: number; readonly StartedAt: string }
  readonly Config: { readonly User: string }
  readonly HostConfig: { readonly PortBindings: Readonly<Record<string, unknown>> | null }
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, readonly unknown[] | null>>
    readonly Networks: Readonly<Record<string, unknown>>
  }
}

/** The services of the compose file, with their own project name and host ports, so that others may run beside them. */
export class Stack {
  readonly project = `aftercommit-test-${randomBytes(4).toString('hex')}`
  readonly #containers = new Map<ServiceName, string>()
  readonly #running = new Set<Promise<string>>()

  private constructor(
    private readonly composeCommand: readonly string[],
    private readonly ports: Readonly<Record<NodeName | 'load-balancer', number>>,
    private readonly signal: AbortSignal,
  ) {}

  /** @param signal ends running commands, except those of `down` */
  static async create(signal: AbortSignal): Promise<Stack> {
    const composeCommand = await findCompose()
    const [loadBalancer, ...nodes] = await freePorts(4)
    const ports = {
      'load-balancer': loadBalancer!,
      'node-1': nodes[0]!,
      'node-2': nodes[1]!,
      'node-3': nodes[2]!,
    }
    return new Stack(composeCommand, ports, signal)
  }

  url(service: NodeName | 'load-balancer'): string {
    return `http://127.0.0.1:${this.ports[service]}`
  }

  /** Builds the image and starts everything. Resolves once the compose file's health checks have succeeded. */
  async up(): Promise<void> {
    await this.#compose(['up', '-d', '--build'])
    for (const service of serviceNames) {
      this.#containers.set(service, (await this.#compose(['ps', '-q', service])).trim())
    }
  }

  /** Removes containers, networks, volumes and built images. It works after an interrupt, and can be called again. */
  async down(): Promise<void> {
    // A command that was interrupted may still be creating something that must be removed.
    await Promise.allSettled(this.#running)
    const args = ['down', '--volumes', '--remove-orphans', '--rmi', 'local', '--timeout', '2']
    await this.#compose(args, new AbortController().signal)
  }

  async cut(node: NodeName, network: 'postgres' | 'redis'): Promise<void> {
    await this.docker('network', 'disconnect', `${this.project}_${network}`, this.#container(node))
  }

  async reconnect(node: NodeName, network: 'postgres' | 'redis'): Promise<void> {
    await this.docker('network', 'connect', `${this.project}_${network}`, this.#container(node))
  }

  async kill(node: NodeName): Promise<void> {
    await this.docker('kill', this.#container(node))
  }

  async start(node: NodeName): Promise<void> {
    await this.docker('start', this.#container(node))
  }

  async stop(node: NodeName, graceSeconds: number): Promise<void> {
    await this.docker('stop', '-t', String(graceSeconds), this.#container(node))
  }

  async inspect(service: ServiceName): Promise<Inspection> {
    const [inspection] = JSON.parse(await this.docker('inspect', this.#container(service))) as Inspection[]
    return inspection!
  }

  exec(service: ServiceName, ...command: readonly string[]): Promise<string> {
    return this.docker('exec', this.#container(service), ...command)
  }

  isInternal(network: 'edge' | 'postgres' | 'redis'): Promise<boolean> {
    return this.docker('network', 'inspect', '-f', '{{.Internal}}', `${this.project}_${network}`).then(
      (text) => text.trim() === 'true',
    )
  }

  logs(): Promise<string> {
    return this.#compose(['logs', '--no-color', '--tail', '40'])
  }

  docker(...args: readonly string[]): Promise<string> {
    return this.#run(['docker', ...args], this.signal)
  }

  #container(service: ServiceName): string {
    const id = this.#containers.get(service)
    if (!id) throw new Error(`${service} has no container`)
    return id
  }

  #compose(args: readonly string[], signal = this.signal): Promise<string> {
    const command = [...this.composeCommand, '-p', this.project, '-f', 'docker-compose.yml', ...args]
    return this.#run(command, signal, {
      LB_PORT: String(this.ports['load-balancer']),
      NODE_1_PORT: String(this.ports['node-1']),
      NODE_2_PORT: String(this.ports['node-2']),
      NODE_3_PORT: String(this.ports['node-3']),
    })
  }

  async #run(command: readonly string[], signal: AbortSignal, environment = {}): Promise<string> {
    const running = run(command, signal, environment)
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }
}

async function findCompose(): Promise<readonly string[]> {
  const signal = new AbortController().signal
  for (const command of [['docker', 'compose'], ['docker-compose']]) {
    if (await run([...command, 'version'], signal).catch(() => undefined)) return command
  }
  throw new Error('Neither "docker compose" nor "docker-compose" is installed')
}

/** @returns the standard output of a command; if it fails, the error contains the end of all its output */
function run(command: readonly string[], signal: AbortSignal, environment = {}): Promise<string> {
  const [program, ...args] = command
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    // In its own session, so that Ctrl-C reaches only this process, which then removes everything in order.
    const child = spawn(program!, args, {
      cwd: root,
      env: { ...process.env, ...environment },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const stop = () => child.kill('SIGTERM')
    signal.addEventListener('abort', stop, { once: true })
    let output = ''
    let everything = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      everything += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      everything += text
    })
    child.once('error', reject)
    child.once('close', (code) => {
      signal.removeEventListener('abort', stop)
      if (code === 0) resolve(output)
      else reject(new Error(`${command.join(' ')} failed:\n${everything.trim().slice(-4_000)}`))
    })
  })
}

/**
 * Returns ports that were free a moment ago. They are below the range of outgoing connections, because a container that is
 * started again needs the same port.
 */
async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  for (let attempt = 0; ports.size < count && attempt < 200; attempt++) {
    const port = randomInt(15_000, 32_000)
    if (await isFree(port)) ports.add(port)
  }
  if (ports.size < count) throw new Error('There are no free ports')
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
