import { type LocalStack, startNode } from '../local-stack/index.js'
import { CommitWitness } from './commit-witness.js'
import { maxStalenessMs } from './probe.js'
import { Side } from './side.js'

/** Three nodes of this service with its default settings, not started yet. */
export async function aftercommitCluster(
  stack: LocalStack,
  databaseUrl: string,
  redisUrl: string | undefined,
): Promise<Side> {
  const witness = await CommitWitness.over(databaseUrl, 'user_account')
  return new Side('Aftercommit', witness, (number, faults = '') =>
    startNode({
      stack,
      databaseUrl,
      redisUrl,
      name: `node-${number}`,
      logLevel: 'error',
      env: { FAULTS: faults, MAX_STALENESS_MS: String(maxStalenessMs) },
    }),
  )
}
