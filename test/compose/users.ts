import { randomUUID } from 'node:crypto'
import { expect } from '@jest/globals'
import { type Answer, type ComposeNode, until } from '../kit/compose.js'

/** The promised bound: when a request arrives, an unmarked answer is at most this many ms behind a committed write. */
export const maxStalenessMs = 2_000

export interface User {
  readonly id: string
  readonly name: string
  readonly version: number
}

export async function registerUser(node: ComposeNode): Promise<User> {
  const answer = await node.post<User>('/users', { email: `${randomUUID()}@example.com`, name: nameOf(0) })
  if (answer.status !== 201) throw new Error(`POST /users: ${describeAnswer(answer)}`)
  return answer.body
}

export const readUser = (node: ComposeNode, id: string): Promise<Answer<User>> =>
  node.get<User>(`/users/${id}`)

export const writeUser = (node: ComposeNode, id: string, value: number): Promise<Answer<User>> =>
  node.patch<User>(`/users/${id}`, { name: nameOf(value) })

/** The number that the last write put into a user's name. */
export function writtenValue(answer: Answer<User>): number {
  if (answer.status !== 200) throw new Error(`a user was expected: ${describeAnswer(answer)}`)
  return Number(answer.body.name.slice(1))
}

const nameOf = (value: number) => `v${value}`

export const cacheStatusOf = (answer: Answer<unknown>): string => answer.headers.get('cache-status') ?? ''

export const servedBy = (answer: Answer<unknown>): string => answer.headers.get('served-by') ?? ''

export function describeAnswer({ status, body, tookMs }: Answer<unknown>): string {
  return `${status} after ${Math.round(tookMs)} ms: ${JSON.stringify(body).slice(0, 300)}`
}

/** Reads until each node has the user in memory. Only then could a later answer be stale. */
export async function cachedInMemory(nodes: readonly ComposeNode[], id: string): Promise<void> {
  for (const node of nodes) {
    await until(`${node.name} has the user in L1`, async () =>
      /-l1; hit/.test(cacheStatusOf(await readUser(node, id))),
    )
  }
}

/** @returns milliseconds until the node answers with the value */
export function seenOn(node: ComposeNode, id: string, value: number): Promise<number> {
  const isSeen = async () => writtenValue(await readUser(node, id)) === value
  return until(`${node.name} answers v${value}`, isSeen, maxStalenessMs)
}

/** Makes a write, which must succeed. @returns milliseconds that the answer took */
export async function write(node: ComposeNode, id: string, value: number): Promise<number> {
  const answer = await writeUser(node, id, value)
  expect({ status: answer.status, body: answer.body }).toMatchObject({ status: 200 })
  return answer.tookMs
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

/** Measures one node with users that were registered on another: median ms of writes, first reads and repeated reads. */
export async function answerTimes(node: ComposeNode, registeredOn: ComposeNode) {
  const writes: number[] = []
  const firstReads: number[] = []
  const repeatedReads: number[] = []
  for (let round = 0; round < 21; round++) {
    const { id } = await registerUser(registeredOn)
    for (const times of [firstReads, repeatedReads]) {
      const { status, body, tookMs } = await readUser(node, id)
      expect({ status, body }).toMatchObject({ status: 200 })
      times.push(tookMs)
    }
    writes.push(await write(node, id, 1))
  }
  return {
    write: median(writes),
    'first read': median(firstReads),
    'repeated read': median(repeatedReads),
  }
}

/** Prints a measurement. */
export function note(text: string): void {
  process.stdout.write(`    # ${text}\n`)
}
