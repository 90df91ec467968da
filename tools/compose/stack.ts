import { randomBytes, randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { CommandError, run } from './command.js'

// The compiled file is in dist/tools/compose/.
const root = fileURLToPath(new URL('../../../', import.meta.url))

/** This machine cannot run containers. The message is one line. */
export class NoEngineError extends Error {
  override readonly name = 'NoEngineError'
}

/** How long, in ms, an engine may take for its version. */
const engineTimeoutMs = 30_000

/** The services of the compose file, with their own project name and host ports, so that others may run beside them. */
export class Stack {
  readonly project = `aftercommit-test-${randomBytes(4).toString('hex')}`
  #running: Promise<unknown> = Promise.resolve()

  private constructor(
    private readonly composeCommand: readonly string[],
    private readonly ports: Readonly<Record<string, string>>,
  ) {}

  /** @throws {NoEngineError} where no engine answers, or Docker Compose is missing */
  static async create(): Promise<Stack> {
    await findEngine()
    const composeCommand = await findCompose()
    const ports = await freePorts(4)
    const names = ['LB_PORT', 'NODE_1_PORT', 'NODE_2_PORT', 'NODE_3_PORT']
    return new Stack(composeCommand, Object.fromEntries(names.map((name, i) => [name, String(ports[i])])))
  }

  /** Builds the image and starts everything. Resolves once the compose file's health checks have succeeded. */
  up(signal: AbortSignal): Promise<void> {
    return this.#compose(['up', '-d', '--build'], signal)
  }

  /** Removes containers, networks, volumes and built images. It works after an interrupt, and can be called again. */
  async down(): Promise<void> {
    // A command that was interrupted may still be creating something that must be removed.
    await this.#running.catch(() => {})
    await this.#compose(['down', '--volumes', '--remove-orphans', '--rmi', 'local', '--timeout', '2'])
  }

  async #compose(args: readonly string[], signal?: AbortSignal): Promise<void> {
    const command = [...this.composeCommand, '-p', this.project, '-f', 'docker-compose.yml', ...args]
    const running = run(command, { cwd: root, env: this.ports, ...(signal && { signal }) })
    this.#running = running
    await running
  }
}

async function findEngine(): Promise<void> {
  const signal = AbortSignal.timeout(engineTimeoutMs)
  try {
    await run(['docker', 'version', '--format', '{{.Server.Version}}'], { signal })
  } catch (error) {
    throw new NoEngineError(`The containers need a Docker engine, and none answers: ${reasonOf(error)}`)
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof CommandError) return error.output.split('\n').at(-1) ?? ''
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'the program "docker" is not installed'
  return String(error)
}

async function findCompose(): Promise<readonly string[]> {
  for (const command of [['docker', 'compose'], ['docker-compose']]) {
    if (await run([...command, 'version']).catch(() => undefined)) return command
  }
  throw new NoEngineError('The containers need Docker Compose, as "docker compose" or "docker-compose"')
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
