import { fileURLToPath } from 'node:url'
import { type LocalStack, startNode } from '../local-stack/index.js'
import { CommitWitness } from './commit-witness.js'
import { createNaiveTable } from './naive-table.js'
import { Side } from './side.js'

const script = fileURLToPath(new URL('./naive-node.js', import.meta.url))

/** Three nodes of `naive-node.ts`, not started yet, with their own table in the same database. */
export async function naiveCluster(stack: LocalStack, databaseUrl: string, redisUrl: string): Promise<Side> {
  const witness = await CommitWitness.over(databaseUrl, 'naive_user')
  await createNaiveTable((statement) => witness.query(statement))
  return new Side('DEL + PUBLISH', witness, (number, faults = '') =>
    startNode({ stack, databaseUrl, redisUrl, script, name: `naive-${number}`, env: { FAULTS: faults } }),
  )
}
