/** One line of defence of the protocol, and the code without it. */
export interface Guard {
  readonly name: string
  /** The promise that falls with it, as the README numbers them. */
  readonly promise: 1 | 2 | 3 | 4 | 5 | 6
  readonly file: string
  /** Occurs in the file exactly once. */
  readonly snippet: string
  readonly without: string
  /** Which interleaving it prevents. */
  readonly why: string
  /**
   * What notices when it is gone. Absent: the explorer. Where a guard lives in SQL, or is about what TypeORM and Postgres
   * make of savepoints, the models would only repeat what its author believes: a test over the real ones does.
   */
  readonly shownBy?: { readonly test: string; readonly title: string }
  /** The scenario to look in, by its name in `hard-cases.ts`; in random ones it would take too long. */
  readonly hardCase?: string
}

const cache = 'src/kernel/cache'
const journal = 'src/kernel/journal'

/** In place of the function that makes a flush of what cannot be read. */
const ignoring = '((..._: unknown[]): Effect => ({ invalidate: [] }))'

/** Every guard of the protocol. Each is removed in turn by `npm run test:guards`, which fails if nothing notices. */
export const guards: readonly Guard[] = [
  {
    name: 'a load is stamped at its begin',
    promise: 3,
    file: `${cache}/reads/loader.ts`,
    snippet: `: value,
      stamp,`,
    without: `: value,
      stamp: applied.stamp(),`,
    why: 'A write that is applied between the load’s statement and its end would be hidden by the younger stamp.',
  },
  {
    name: 'a load of several keys is stamped at its begin',
    promise: 3,
    file: `${cache}/reads/loader.ts`,
    snippet: `        value,
        stamp,
        names: fewNames(own.names),`,
    without: `        value,
        stamp: applied.stamp(),
        names: fewNames(own.names),`,
    why: 'As for one key.',
  },
  {
    name: 'a copy from L2 keeps its stamp',
    promise: 3,
    file: `${cache}/entries/entries.ts`,
    snippet: 'own, { epoch, position }, names',
    without: 'own, this.dependencies.applied.stamp(), names',
    why: 'Stamped anew, what another node stored late, or Redis brought back, passes for young.',
  },
  {
    name: 'a copy from L2 is of the epoch in which it was asked for',
    promise: 3,
    file: `${cache}/entries/tiers.ts`,
    snippet: 'found && this.#adopt(key, found, shared.epoch, options)',
    without: 'found && this.#adopt(key, found, this.dependencies.applied.epoch, options)',
    why: 'An epoch that begins while Redis answers would take over the old one’s position.',
  },
  {
    name: 'L1 is compared at every read',
    promise: 3,
    file: `${cache}/hybrid-cache.ts`,
    snippet: 'return this.dependencies.applied.isFresh(entry.stamp, entry.slots) ? entry : undefined',
    without: 'return entry',
    why: 'Nothing evicts a value when it is invalidated.',
  },
  {
    name: 'L2 is compared at every read',
    promise: 3,
    file: `${cache}/entries/tiers.ts`,
    snippet: 'return clock.now() < entry.freshUntil && applied.isFresh(entry.stamp, entry.slots)',
    without: 'return clock.now() < entry.freshUntil',
    why: 'Redis may give what was invalidated, and never loses it by itself.',
  },
  {
    name: 'tags that the load decides are compared',
    promise: 3,
    file: `${cache}/entries/entries.ts`,
    snippet: 'for (const name of names) slots.push(invalidations.slotOf(name))',
    without: '',
    why: 'A write that names only the tag would leave the value alone.',
  },
  {
    name: 'a cached read inside another adds its names to the outer',
    promise: 3,
    file: `${cache}/reads/answers.ts`,
    snippet: `    outer?.add(this.entries.namesOf(key, entry))
    if (staleness)`,
    without: '    if (staleness)',
    why: 'The outer value would outlive an invalidation of what it was made from.',
  },
  {
    name: 'a cached hit inside another load adds its names to the outer',
    promise: 3,
    file: `${cache}/reads/answers.ts`,
    snippet: 'outerLoad()?.add(this.entries.namesOf(key, entry))',
    without: '',
    why: 'As above, where the inner value came from memory.',
  },
  {
    name: 'a read in a unit of work inside a load adds its key to the outer',
    promise: 3,
    file: `${cache}/reads/answers.ts`,
    snippet: 'outerLoad()?.add(this.entries.ownNames(key, tags))',
    without: '',
    why: 'As above, where the inner value is not kept, so that its read is never a hit.',
    hardCase: 'a unit of work inside a load',
  },
  {
    name: 'a read in a unit of work inside a load adds its tags to the outer',
    promise: 3,
    file: `${cache}/reads/load-scope.ts`,
    snippet: '    this.whole?.add(names)\n',
    without: '',
    why: 'As above. Only the load in the transaction knows these tags.',
    hardCase: 'a unit of work inside a load',
  },
  {
    name: 'what depends on any key of a cache goes stale with each',
    promise: 3,
    file: `${journal}/invalidation-rules.ts`,
    snippet: 'names[count++] = anyKey\n',
    without: "names[count++] = 'k:nothing'\n",
    why: 'A value made from very many others does not name each of them.',
    shownBy: {
      test: 'test/unit/kernel/made-of-very-many.test.ts',
      title: 'an event that names the key of one of them',
    },
  },
  {
    name: 'what depends on any tag goes stale with each',
    promise: 3,
    file: `${journal}/invalidation-rules.ts`,
    snippet: '[...tags.map(dependencyOn.tag), dependencyOn.anyTag]',
    without: 'tags.map(dependencyOn.tag)',
    why: 'As above.',
    shownBy: {
      test: 'test/unit/kernel/made-of-very-many.test.ts',
      title: 'tag of one of them',
    },
  },
  {
    name: 'a fail-safe answer is marked',
    promise: 4,
    file: `${cache}/reads/fail-safe.ts`,
    snippet: `return { entry, source: 'l1', staleness }`,
    without: `return { entry, source: 'l1' }`,
    why: 'It may be older than any bound.',
  },
  {
    name: 'fail-safe answers nothing invalidated',
    promise: 3,
    file: `${cache}/reads/fail-safe.ts`,
    snippet: "    if (standing === 'invalidated' && !allowInvalidated) return undefined\n",
    without: '',
    why: 'The node has applied what replaced it.',
  },
  {
    name: 'inside a load, fail-safe answers nothing invalidated',
    promise: 5,
    file: `${cache}/reads/fail-safe.ts`,
    snippet: 'Math.max(consistency?.requiredPosition ?? 0, outerLoad()?.requiredPosition ?? 0)',
    without: '(consistency?.requiredPosition ?? 0)',
    why: 'The outer value goes to a client whose token is newer than the inner one.',
    hardCase: 'fail-safe inside a load',
  },
  {
    name: 'what is made of something stale is not kept',
    promise: 4,
    file: `${cache}/reads/loader.ts`,
    snippet: 'load.stored && scope.staleness === undefined &&',
    without: 'load.stored &&',
    why: 'From memory it would be answered without the mark.',
    shownBy: {
      test: 'test/integration/cache/fail-safe.test.ts',
      title: 'what is made of a stale value is as stale',
    },
  },
  {
    name: 'set keeps nothing that was invalidated after it was read',
    promise: 3,
    file: `${cache}/cache-writes.ts`,
    snippet: `if (!applied.isFresh(stamp, entry.slots)) this.tiers.fenced(key, 'set')
        else if (this.loader.isKeepable(key, entry))`,
    without: 'if (this.loader.isKeepable(key, entry))',
    why: 'A lagging node would put an old value in place of everybody’s.',
  },
  {
    name: 'no hit without a lease',
    promise: 4,
    file: `${journal}/lease.ts`,
    snippet: 'if (now >= this.#until) return undefined',
    without: '',
    why: 'A node that was paused, or cut off, does not know what it has missed.',
  },
  {
    name: 'no call, and no copy from L2, without a lease',
    promise: 4,
    file: `${cache}/reads/misses.ts`,
    snippet: 'if (this.dependencies.lease.holds()) return this.#join(read, route, waiter)',
    without: 'return this.#join(read, route, waiter)',
    why: 'A copy from L2 is compared with what this node knows, which may be too little.',
  },
  {
    name: 'what a caller joined is compared by its real tags when the call ends',
    promise: 3,
    file: `${cache}/reads/single-flight.ts`,
    snippet: 'if (nothingBetween || waiter.hasLeft) return result',
    without: 'return result',
    why: 'The tag was invalidated after the call began and before this caller came.',
    hardCase: 'a load whose tags come late',
  },
  {
    name: 'an absence that no event ends is not given to those who came after another event',
    promise: 3,
    file: `${cache}/reads/single-flight.ts`,
    snippet: 'this.hasEnd(result.entry) && applied.isFresh(stamp, slots)',
    without: 'applied.isFresh(stamp, slots)',
    why: 'A load that found nothing is joined by a reader who arrives after the creation was applied.',
    hardCase: 'a load that finds nothing',
  },
  {
    name: 'absence is kept only with the event that ends it',
    promise: 3,
    file: `${cache}/reads/loader.ts`,
    snippet: 'return this.cache.cacheAbsent || (value !== null && value !== undefined)',
    without: 'return true',
    why: 'Nothing would tell that the thing now exists.',
  },
  {
    name: 'a read in a unit of work bypasses the cache',
    promise: 1,
    file: `${cache}/hybrid-cache.ts`,
    snippet: 'if (currentScope()) return this.#parts.uncached.load(this.#read(key, factory, options))',
    without: '',
    why: 'What it sees may never be committed.',
  },
  {
    name: 'stamps are compared by epoch',
    promise: 3,
    file: `${journal}/applied-journal.ts`,
    snippet: 'return stamp.epoch === this.#epoch && this.invalidations.isCurrent',
    without: 'return this.invalidations.isCurrent',
    why: 'A load that began before a failover knows nothing of what the new history holds at its position.',
  },
  {
    name: 'hints are applied without a gap',
    promise: 3,
    file: `${journal}/applied-journal.ts`,
    snippet: 'if (message.position !== this.#position + 1) {',
    without: 'if (false as boolean) {',
    why: 'What a lost hint carried would never be applied.',
  },
  {
    name: 'a hint is signed',
    promise: 1,
    file: `${journal}/hint.ts`,
    snippet: 'given.length === expected.length && timingSafeEqual(given, expected) ? body : undefined',
    without: 'given.length === expected.length ? body : body',
    why: 'Whoever has Redis alone could give the next position to an event of his own.',
  },
  {
    name: 'an unknown payload flushes',
    promise: 3,
    file: `${journal}/invalidation-rules.ts`,
    snippet: 'if (!payload.success) return flush(',
    without: `if (!payload.success) return ${ignoring}(`,
    why: 'What a newer version of the service made stale would be served on.',
  },
  {
    name: 'a mapping that throws flushes',
    promise: 3,
    file: `${journal}/invalidation-rules.ts`,
    snippet: 'return flush(message.type, `a mapping',
    without: `return ${ignoring}(message.type, \`a mapping`,
    why: 'As above.',
  },
  {
    name: 'an unknown event invalidates what listens to its module',
    promise: 3,
    file: `${journal}/invalidation-rules.ts`,
    snippet: `const names = [...listeners].map(dependencyOn.cache)`,
    without: 'const names: string[] = []',
    why: 'As above.',
  },
  {
    name: 'a flush makes everything loaded before it stale',
    promise: 3,
    file: `${journal}/applied-journal.ts`,
    snippet: `    this.invalidations.raiseRemovalFloor(head.head)
`,
    without: '',
    why: 'Messages that can no longer be had may have named anything; loads under way are meant, too.',
  },
  {
    name: 'a missing position flushes',
    promise: 3,
    file: `${journal}/staleness-check.ts`,
    snippet: `if (idAt(page, position) === 'unknown' || !isComplete(page, position)) {`,
    without: 'if (false as boolean) {',
    why: 'Retention took what this node had not applied yet.',
  },
  {
    name: 'a starting node knows nothing below its floor',
    promise: 3,
    file: `${journal}/applied-journal.ts`,
    snippet: 'this.invalidations.reset(floor)',
    without: 'this.invalidations.reset(0)',
    why: 'L2 still holds what was invalidated before it started.',
  },
  {
    name: 'the lease counts from before the check',
    promise: 4,
    file: `${journal}/staleness-check.ts`,
    snippet: 'this.lease.renew(startedAt, startedAtWall)',
    without: 'this.lease.renew(this.clock.now(), this.clock.wall())',
    why: 'A slow answer would stretch the bound by its own delay.',
    hardCase: 'a slow check',
  },
  {
    name: 'a suspended machine loses its lease',
    promise: 4,
    file: `${journal}/lease.ts`,
    snippet: 'if (Math.abs(this.clock.wall() - now - this.#offset) <= suspensionToleranceMs) {',
    without: 'if (true) {',
    why: 'Its monotonic clock stood still, and with it the end of the lease.',
  },
  {
    name: 'a check numbers what has no position',
    promise: 2,
    file: `${journal}/staleness-check.ts`,
    snippet: 'if (page.unnumbered) {',
    without: 'if (false as boolean) {',
    why: 'The writer died right after its COMMIT.',
  },
  {
    name: 'a check renews nothing before it has applied up to the head',
    promise: 4,
    file: `${journal}/staleness-check.ts`,
    snippet: 'while (this.applied.epoch === epoch && this.applied.position < head) await this.#readOn()',
    without: '',
    why: 'A page may be smaller than what there is.',
    // Thousands of events are more than a model's run has.
    shownBy: {
      test: 'test/unit/kernel/staleness-check.test.ts',
      title: 'applies a backlog of several pages',
    },
  },
  {
    name: 'another epoch empties the caches',
    promise: 3,
    file: `${journal}/staleness-check.ts`,
    snippet: 'if (page.epoch !== epoch) return this.#enterEpoch(page)',
    without: '',
    why: 'The new primary may lack what the node has applied.',
  },
  {
    name: 'a token of another epoch counts as pending',
    promise: 5,
    file: `${journal}/staleness-check.ts`,
    snippet: 'token.epoch === this.applied.epoch &&',
    without: '',
    why: 'The same position stands for something else there.',
  },
  {
    name: 'a pending token makes a check',
    promise: 5,
    file: `${journal}/staleness-check.ts`,
    snippet: 'if (this.#covers(token)) return token',
    without: "if (token.position === 'pending' || this.#covers(token)) return token",
    why: 'The client has seen a write that has no position yet.',
  },
  {
    name: 'a node that is behind a token makes a check',
    promise: 5,
    file: `${journal}/staleness-check.ts`,
    snippet: 'token.position <= this.applied.position',
    without: 'true',
    why: 'The load balancer sends the next read elsewhere.',
  },
  {
    name: 'answers say pending until a check has covered them',
    promise: 5,
    file: `${journal}/applied-journal.ts`,
    snippet: 'const covered = this.#lastCheck.startedAt > obtainedAt',
    without: 'const covered = this.#lastCheck.head > 0',
    why: 'A load may have seen a write that has no position yet.',
  },
  {
    name: 'an answer that saw something unnumbered does not name a position',
    promise: 5,
    file: `${journal}/applied-journal.ts`,
    snippet: `position: covered ? this.#lastCheck.head : 'pending'`,
    without: 'position: covered ? this.#lastCheck.head : this.#position',
    why: 'As above.',
  },
  {
    name: 'whoever asks for a check or a dispatch gets one that begins afterwards',
    promise: 5,
    file: 'src/kernel/coalesced.ts',
    snippet: 'if (!this.#running) return this.#start()',
    without:
      'if (!this.#running) return this.#start()\n    if (!this.#waiting) return this.#running as Promise<Result>',
    why: 'The one under way may have looked before the write was committed.',
  },
  {
    name: 'the numbering lock comes before its snapshot (model)',
    promise: 2,
    file: 'test/consistency/postgres-model.ts',
    snippet: 'has numbered.\n    snapshot = this.#snapshot()\n',
    without: 'has numbered.\n',
    why: 'A snapshot from before the wait shows as unnumbered what the former holder has numbered.',
  },
  {
    name: 'the numbering that goes out behind a COMMIT comes after it',
    promise: 5,
    file: 'src/kernel/outbox/dispatcher.ts',
    snippet: "const committing = connection.query('COMMIT')",
    without: "const committing = Promise.resolve().then(() => connection.query('COMMIT'))",
    why: 'Its head would be the token of a write that it has not seen.',
  },
  {
    name: 'numbering takes a lock',
    promise: 2,
    file: 'migrations/1700000000000-kernel.ts',
    snippet: `lock table aftercommit_kernel.numbering_lock in share update exclusive mode;

`,
    without: '',
    why: 'Two callers would give the same position to two events.',
    shownBy: { test: 'test/integration/kernel/numbering.test.ts', title: 'eight numbering at once' },
  },
  {
    name: 'a crash of Postgres ends the epoch',
    promise: 3,
    file: 'migrations/1700000000000-kernel.ts',
    snippet: "            branch), 'UTF8')",
    without: "            null), 'UTF8')",
    why: 'Positions that were not flushed are given again: a stamp of before would hide an invalidation of after.',
    shownBy: {
      test: 'test/integration/kernel/crash-of-postgres.test.ts',
      title: 'a position that a crash gives to another event',
    },
  },
  {
    name: 'positions are flushed where a crash does not end the epoch',
    promise: 3,
    file: 'migrations/1700000000000-kernel.ts',
    snippet: "relpersistence = 'u' and ",
    without: '',
    why: 'As above, on a server that keeps what is not logged.',
    shownBy: {
      test: 'test/integration/kernel/crash-of-postgres.test.ts',
      title: 'where a crash would not end their epoch',
    },
  },
  {
    name: 'no event of a save that found another version',
    promise: 1,
    file: 'src/kernel/persistence/aggregate-statements.ts',
    snippet: `outboxInsert(3, 'where exists (select from changed)')`,
    without: 'outboxInsert(3)',
    why: 'A change that was lost to another writer would be announced, and taken for saved.',
    shownBy: {
      test: 'test/integration/kernel/prepared-statements.test.ts',
      title: 'a save that finds another version',
    },
  },
  {
    name: 'no write before its transaction has begun',
    promise: 1,
    file: 'src/kernel/persistence/transaction-scope.ts',
    snippet: 'return this.#run(work, this.resources.begun)',
    without: 'return this.#run(work)',
    why: 'Sent along with a START TRANSACTION that fails, a row would commit by itself, and its event never.',
    shownBy: {
      test: 'test/integration/kernel/unit-of-work.test.ts',
      title: 'a transaction that cannot begin',
    },
  },
  {
    name: 'events leave the aggregate at the outermost COMMIT only',
    promise: 1,
    file: 'src/kernel/persistence/unit-of-work.ts',
    snippet: `        await runner.commitTransaction()
        return result
`,
    without: `        await runner.commitTransaction()
        aggregates.committed()
        return result
`,
    why: 'A savepoint that is released can still be rolled back with the outer one, and then be tried again.',
    shownBy: { test: 'test/integration/kernel/unit-of-work.test.ts', title: 'a savepoint that rolls back' },
  },
  {
    name: 'a savepoint that rolls back takes its events back',
    promise: 1,
    file: 'src/kernel/persistence/unit-of-work.ts',
    snippet: '        aggregates.rollbackTo(before)\n',
    without: '',
    why: 'A retry would write what the first attempt raised once more.',
    shownBy: { test: 'test/integration/kernel/unit-of-work.test.ts', title: 'a savepoint that rolls back' },
  },
  {
    name: 'no COMMIT while an event is not written',
    promise: 2,
    file: 'src/kernel/persistence/unit-of-work.ts',
    snippet: '        aggregates.refuseUnwrittenEvents()\n        const hasEvents =',
    without: '        const hasEvents =',
    why: 'Its row is written and its event is not: no cache would hear of it.',
    shownBy: { test: 'test/integration/kernel/unit-of-work.test.ts', title: 'a commit is refused' },
  },
]

/** No guard, but a slip that anybody might make: to see that one that nobody thought of is found, too. */
export const plantedBug: Guard = {
  name: 'planted: a lease of twice the bound',
  promise: 4,
  file: `${journal}/lease.ts`,
  snippet: 'const until = startedAt + this.maxStalenessMs',
  without: 'const until = startedAt + 2 * this.maxStalenessMs',
  why: 'A value may be served for longer than was promised.',
}

/** The comparison on which everything rests: it is made at every read and before anything is stored. */
export const fence: Guard = {
  name: 'the fence',
  promise: 3,
  file: `${journal}/applied-journal.ts`,
  snippet: 'stamp.epoch === this.#epoch && this.invalidations.isCurrent(stamp.position, slots)',
  without: 'stamp.epoch === this.#epoch && slots.length > 0',
  why: 'An invalidated value would be served until it expires.',
  shownBy: { test: 'test/model/model.test.ts', title: 'without the fence' },
}
