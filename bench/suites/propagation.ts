import { type Bench, type Contestant, compare } from '../comparison.js'
import { type RowPlan, rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const url = (name: string) => new URL(`../contestants/${name}.js`, import.meta.url).href
const propagations = url('propagation')
const outboxes = url('outboxes')

type Pair = (
  name: string,
  role: Contestant['role'],
  module: string,
  sender: string,
  receiver: string,
) => Contestant

/** Two processes a contestant, what goes between them evenly paced. */
function pairsOf(perSecond: number, seconds: number): Pair {
  return (name, role, module, sender, receiver) => ({
    name,
    role,
    module: propagations,
    open: 'openPair',
    settings: { module, sender, receiver, perSecond, seconds },
  })
}

const quantiles = (work: string, p50: number, p99: number): RowPlan[] =>
  (
    [
      ['p50', p50],
      ['p99', p99],
    ] as const
  ).map(([figure, ratio]) => ({
    work: `${work}, ${figure}`,
    figure,
    unit: 'ms',
    better: 'lower',
    goal: { against: 'limit', ratio },
  }))

export const propagation: Suite = {
  name: 'propagation',
  about: 'from a publish to its effect in another process',
  async run(bench: Bench) {
    const publishes = pairsOf(200, 4)
    const published = await compare(bench, [
      publishes('PUBLISH to SUBSCRIBE', 'limit', propagations, 'openRawPublisher', 'openRawSubscriber'),
      publishes('aftercommit', 'ours', propagations, 'openOurPublisher', 'openOurReceiver'),
      publishes(
        'layered-loader',
        'peer',
        propagations,
        'openLayeredLoaderSender',
        'openLayeredLoaderReceiver',
      ),
      publishes('BentoCache', 'peer', propagations, 'openBentoCacheSender', 'openBentoCacheReceiver'),
      publishes('cacheable', 'peer', propagations, 'openCacheableSender', 'openCacheableReceiver'),
    ])
    return quantiles('publish of a numbered event to its effect on another node', 1.5, 3).map((plan) =>
      rowOf('propagation', published, plan),
    )
  },
}

export const eviction: Suite = {
  name: 'eviction',
  about: 'from a COMMIT to its effect in another process, at 50 and 1,000 writes a second',
  async run(bench: Bench) {
    const plain = (commits: Pair) => [
      commits('outbox with a NOTIFY wake', 'limit', outboxes, 'openRawWriter', 'openRawConsumer'),
      commits('aftercommit', 'ours', propagations, 'openOurWriter', 'openOurReceiver'),
    ]
    const few = pairsOf(50, 6)
    const atFifty = await compare(bench, [
      ...plain(few),
      few('graphile-worker', 'peer', outboxes, 'openGraphileWriter', 'openGraphileConsumer'),
      few('pg-boss', 'peer', outboxes, 'openPgBossWriter', 'openPgBossConsumer'),
    ])
    const atThousand = await compare(bench, plain(pairsOf(1_000, 3)))
    return [
      ...quantiles('COMMIT to eviction on another node, 50 writes/s', 1.3, 1.3).map((plan) =>
        rowOf('eviction', atFifty, plan),
      ),
      ...quantiles('COMMIT to eviction on another node, 1,000 writes/s', 1.3, 1.3).map((plan) =>
        rowOf('eviction', atThousand, plan),
      ),
    ]
  },
}
