import type { Wrappers } from '../../src/container.js'
import { ChaosHints, ChaosJournal, ChaosTier, type Trouble } from '../kit/chaos.js'

// A node that is given these wrappers has the trouble between itself and its servers.
export function wrappersFor(trouble: Trouble): Wrappers {
  return {
    shared: (tier) => new ChaosTier(tier, trouble),
    hints: (channel) => new ChaosHints(channel, trouble),
    journal: (journal) => new ChaosJournal(journal, trouble),
  }
}

export async function inTrouble<Result>(trouble: Trouble, work: () => Promise<Result>): Promise<Result> {
  trouble.cause({ delayMs: [5, 50], failureRate: 0.3 })
  try {
    return await work()
  } finally {
    trouble.calm()
  }
}
