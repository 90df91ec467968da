import type { NodeProcess } from '../local-stack/index.js'
import { request } from './client.js'
import type { CommitWitness } from './commit-witness.js'
import { Watch, type Watched } from './probe.js'

/** Starts the node with a number (from 1), with the given faults. */
export type LaunchNode = (number: number, faults?: string) => Promise<NodeProcess>

/** One of the two designs: three nodes that answer the same calls, and all that was read from them. */
export class Side implements Watched {
  readonly watches: Watch[] = []
  readonly #nodes = new Map<number, NodeProcess>()

  constructor(
    readonly name: string,
    readonly witness: CommitWitness,
    private readonly launch: LaunchNode,
  ) {}

  get nodes(): readonly NodeProcess[] {
    return [...this.#nodes].sort(([a], [b]) => a - b).map(([, node]) => node)
  }

  node(number: number): NodeProcess {
    const node = this.#nodes.get(number)
    if (!node) throw new Error(`${this.name} has no node ${number}`)
    return node
  }

  /** @throws Error with the node's last output if one does not start */
  async start(numbers: readonly number[]): Promise<void> {
    await Promise.all(numbers.map((number) => this.replace(number)))
  }

  /** Replaces a node, running or dead, by a new process. */
  async replace(number: number, faults?: string): Promise<void> {
    await this.#nodes.get(number)?.stop()
    this.#nodes.set(number, await this.launch(number, faults))
  }

  /** Registers a new user. It uses node 2, because node 1 may be about to die at its first write. */
  async register(name: string): Promise<Watch> {
    const email = `${name.toLowerCase()}-${this.watches.length}@example.org`
    const answer = await request('POST', `${this.node(2).url}/users`, { body: { email, name } })
    if (answer.status !== 201)
      throw new Error(`${this.name}: POST /users answered ${answer.status} ${answer.text}`)
    const { id, version } = JSON.parse(answer.text) as { id: string; version: number }
    const watch = new Watch(this, id, { version, at: answer.arrivedAt })
    this.watches.push(watch)
    return watch
  }

  /** The last lines of every node's log, to explain a failure. */
  logs(): string {
    return this.nodes
      .map((node) => ({ name: node.name, text: node.output().trim().split('\n').slice(-10).join('\n') }))
      .filter(({ text }) => text !== '')
      .map(({ name, text }) => `${name}:\n${text}`)
      .join('\n')
  }
}
