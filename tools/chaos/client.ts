import { beganNow, endedAt, type HistoryFile, type Observed, type Tier, tiers } from './history.js'
import { type Answer, HttpConnection, headerOf } from './http-connection.js'
import type { Balancer } from './round-robin.js'
import type { Target } from './world.js'

/** Longer than any pause of a node, so that the answers of a node after its pause are judged as well. */
const timeoutMs = 12_000

/** With these statuses nothing was written for certain. */
const refusals = new Set([400, 404, 409, 412, 422])

export interface Write {
  readonly method: 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  readonly path: string
  readonly body?: unknown
  readonly ifMatch?: number
  /** The key and value that it writes, and the version that it makes if the answer does not contain it. */
  readonly key: string
  readonly value: string
  readonly version?: number
}

export interface ClientDependencies {
  readonly history: HistoryFile
  readonly balancer: Balancer
  /** The ports of the nodes. */
  readonly ports: readonly number[]
  /** Changes the spelling of a path, because clients may spell ids differently from the service. */
  readonly spell: (path: string) => string
}

interface Exchange {
  readonly node: number
  readonly sentAt: number
  readonly answers: readonly (Answer | undefined)[]
}

/** Sends reads and writes over HTTP, each request to the node whose turn it is, and records the answers. */
export class Client {
  readonly #connections: HttpConnection[]
  #token: string | undefined

  constructor(
    readonly number: number,
    private readonly usesTokens: boolean,
    private readonly dependencies: ClientDependencies,
  ) {
    this.#connections = dependencies.ports.map((port) => new HttpConnection(port, timeoutMs))
  }

  /**
   * Sends several reads at the same time to one node.
   *
   * @returns what each answer showed; undefined if it showed nothing
   */
  async read(targets: readonly Target[]): Promise<(readonly Observed[] | undefined)[]> {
    const token = this.usesTokens ? this.#token : undefined
    const requests = targets.map(({ path }) => requestOf('GET', this.dependencies.spell(path), token))
    const exchange = await this.#exchange(requests)
    if (!exchange) return []
    return exchange.answers.map((answer, index) =>
      this.#noteRead(targets[index] as Target, exchange, answer, token !== undefined),
    )
  }

  /** @returns the version that it made if the answer confirmed the commit; undefined otherwise */
  async write(write: Write): Promise<number | undefined> {
    const { method, path, body, ifMatch, key, value } = write
    const token = this.usesTokens ? this.#token : undefined
    if (method === 'DELETE') {
      this.dependencies.history.append({ kind: 'removing', key, version: write.version ?? 0 })
    }
    const exchange = await this.#exchange([
      requestOf(method, this.dependencies.spell(path), token, body, ifMatch),
    ])
    if (!exchange) return undefined
    const [answer] = exchange.answers
    const isCommitted = answer !== undefined && answer.status >= 200 && answer.status < 300
    const isRefused = answer !== undefined && refusals.has(answer.status)
    const version = isCommitted ? (write.version ?? versionIn(answer.body)) : 0
    this.dependencies.history.append({
      kind: 'write',
      client: this.number,
      node: exchange.node + 1,
      sentAt: exchange.sentAt,
      arrivedAt: endedAt(answer?.arrivedAt ?? performance.now()),
      token: token !== undefined,
      outcome: isCommitted ? 'committed' : isRefused ? 'refused' : 'unknown',
      key: key === '' && isCommitted ? `user ${idIn((answer as Answer).body)}` : key,
      version,
      value,
    })
    if (isCommitted) this.#remember(answer as Answer)
    return isCommitted ? version : undefined
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }

  /** Undefined if no node accepts a request at the moment. */
  async #exchange(requests: readonly string[]): Promise<Exchange | undefined> {
    const { balancer } = this.dependencies
    const node = balancer.take()
    if (node === undefined) return undefined
    const connection = this.#connections[node] as HttpConnection
    const sentAt = beganNow()
    const answers = await Promise.all(
      requests.map((request) => connection.send(request).catch(() => undefined)),
    )
    balancer.giveBack(
      node,
      answers.every((answer) => answer !== undefined && answer.status !== 503),
    )
    return { node, sentAt, answers }
  }

  #noteRead(
    target: Target,
    { node, sentAt }: Exchange,
    answer: Answer | undefined,
    token: boolean,
  ): readonly Observed[] | undefined {
    const operation = {
      client: this.number,
      node: node + 1,
      sentAt,
      arrivedAt: endedAt(answer?.arrivedAt ?? performance.now()),
      token,
    }
    const seen = answer && target.observe(answer.status, answer.body)
    if (!seen) {
      const status = answer?.status ?? 0
      const detail = answer && status !== 503 ? `${target.path}: ${answer.body.slice(0, 300)}` : ''
      this.dependencies.history.append({ kind: 'failed', ...operation, status, detail })
      return undefined
    }
    const status = headerOf(answer.head, 'cache-status') ?? ''
    this.dependencies.history.append({
      kind: 'read',
      ...operation,
      tier: tierOf(status),
      marked: status.includes('detail='),
      seen,
    })
    this.#remember(answer)
    return seen
  }

  #remember({ head }: Answer): void {
    if (this.usesTokens) this.#token = headerOf(head, 'consistency-token') ?? this.#token
  }
}

function requestOf(
  method: string,
  path: string,
  token: string | undefined,
  body?: unknown,
  ifMatch?: number,
): string {
  let head = `${method} ${path} HTTP/1.1\r\nHost: chaos\r\n`
  if (token !== undefined) head += `Consistency-Token: ${token}\r\n`
  if (ifMatch !== undefined) head += `If-Match: "${ifMatch}"\r\n`
  if (body === undefined) return `${head}\r\n`
  const json = JSON.stringify(body)
  return `${head}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`
}

function tierOf(cacheStatus: string): Tier {
  // The `Cache-Status` of a naive node starts with the tier.
  const tier = tiers.find((name) => new RegExp(`\\b${name}\\b`).test(cacheStatus.replace('l1; fwd=', '')))
  return tier ?? 'bypass'
}

function versionIn(body: string): number {
  return body === '' ? 0 : ((JSON.parse(body) as { version?: number }).version ?? 0)
}

function idIn(body: string): string {
  return (JSON.parse(body) as { id: string }).id
}
