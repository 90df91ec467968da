import { setTimeout as sleep } from 'node:timers/promises'
import { committedVersions, journalState } from './audit.js'
import type { Cluster, ClusterNode, Mode } from './cluster.js'
import type { FinalNodeRecord, HistoryFile } from './history.js'
import { HttpConnection, headerOf } from './http-connection.js'
import { singles, type World } from './world.js'

/** After the last fault, every node must be ready and have applied everything within so many ms. */
export const convergenceLimitMs = 15_000

/** After many failures, an event handler waits for up to a minute before it tries again. */
const deliveryLimitMs = 75_000
const readLimitMs = 5_000
const pollMs = 100

/** Waits until the nodes have converged or their time is over, and records their state. */
export async function noteConvergence(
  cluster: Cluster,
  world: World,
  history: HistoryFile,
  mode: Mode,
  boundMs: number,
): Promise<void> {
  const alive = cluster.nodes.map(({ process }) => process.pid)
  if (mode === 'aftercommit') {
    const state = async () =>
      Promise.all(cluster.nodes.map((node, index) => stateOf(cluster, node, alive[index])))
    const converged = (nodes: readonly FinalNodeRecord[]) =>
      nodes.every(({ ready, applied, head }) => ready && applied === head)
    for (const node of await until(state, converged, convergenceLimitMs)) history.append(node)
    const journal = await until(
      () => journalState(cluster.postgres),
      ({ undelivered }) => undelivered === 0,
      deliveryLimitMs,
    )
    history.append(journal)
  }
  await sleep(boundMs)
  for (const node of cluster.nodes) await noteReads(node, world, history)
  for (const version of await committedVersions(cluster.postgres)) history.append(version)
}

async function until<State>(
  look: () => Promise<State>,
  isGood: (state: State) => boolean,
  limitMs: number,
): Promise<State> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const state = await look()
    if (isGood(state) || performance.now() > deadline) return state
    await sleep(pollMs)
  }
}

interface Health {
  readonly checks: { readonly journal: { readonly applied: number } }
}

async function stateOf(cluster: Cluster, node: ClusterNode, pid?: number): Promise<FinalNodeRecord> {
  const [row] = await cluster.postgres.rows<{ head: number }>(
    'select position::integer as head from aftercommit_kernel.journal_head',
  )
  const head = row?.head ?? -1
  const sameProcess = node.process.pid === pid
  const record = { kind: 'final-node', node: node.number, head, sameProcess } as const
  try {
    const answer = await fetch(`${node.process.url}/health/ready`, { signal: AbortSignal.timeout(2_000) })
    const { checks } = (await answer.json()) as Health
    return { ...record, ready: answer.status === 200, applied: checks.journal.applied }
  } catch {
    return { ...record, ready: false, applied: -1 }
  }
}

async function noteReads(node: ClusterNode, world: World, history: HistoryFile): Promise<void> {
  const connection = new HttpConnection(node.port, 10_000)
  for (const target of [...singles(world), ...world.categories]) {
    const read = async () => {
      const answer = await connection
        .send(`GET ${target.path} HTTP/1.1\r\nHost: chaos\r\n\r\n`)
        .catch(() => undefined)
      return { answer, seen: answer && target.observe(answer.status, answer.body) }
    }
    // If the machine is too busy for checks, a node refuses to answer. That is not a wrong answer, so the read is repeated.
    const { answer, seen } = await until(read, ({ seen }) => seen !== undefined, readLimitMs)
    const marked = answer !== undefined && (headerOf(answer.head, 'cache-status') ?? '').includes('detail=')
    if (!seen) {
      history.append({
        kind: 'final-read',
        node: node.number,
        marked,
        key: target.path,
        version: -1,
        value: `status ${answer?.status ?? 0}`,
      })
    }
    for (const each of seen ?? []) history.append({ kind: 'final-read', node: node.number, marked, ...each })
  }
  connection.close()
}
