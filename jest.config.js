/**
 * What takes long and seldom finds what the rest does not: `npm run test:all` runs it, `npm test` does not unless a file is named.
 * Files outside this list that have more to do in a thorough run look at `test/support/depth.ts`.
 */
const thoroughOnly = [
  'consistency/exhaustive',
  'integration/demo',
  'integration/dev',
  'integration/local-stack',
  'integration/kernel/claims',
  'integration/kernel/copied-database',
  'integration/kernel/cost-of-the-journal',
  'integration/kernel/crash-of-postgres',
  'integration/kernel/neighbours',
  'integration/kernel/numbering-with-commit',
  'integration/kernel/restored-history',
  'integration/kernel/rights',
  'integration/kernel/shared-tier-in-bulk',
  'multi-node/clocks',
  'multi-node/disk-set-back',
  'multi-node/hostile-redis',
  'multi-node/hung-redis',
  'multi-node/lifecycle',
  'multi-node/logging',
  'multi-node/lost-messages',
  'multi-node/memory',
  'multi-node/slow-readers',
  'multi-node/stampede',
]
const withMoreToDo = [
  'consistency/random',
  'unit/kernel/no-resurrection',
  'integration/cache/*',
  'multi-node/read-your-writes',
  'multi-node/resurrection',
]

const filesOf = (names) => names.map((name) => `<rootDir>/test/${name}.test.ts`)
const isThorough = process.env.TEST_DEPTH === 'full'
const namesFiles = process.argv
  .slice(2)
  .some(
    (argument, index, all) =>
      !argument.startsWith('-') && !/^(-t|--testNamePattern)$/.test(all[index - 1] ?? ''),
  )

export default {
  testEnvironment: 'node',
  testMatch:
    isThorough && !namesFiles ? filesOf([...thoroughOnly, ...withMoreToDo]) : ['<rootDir>/test/**/*.test.ts'],
  testPathIgnorePatterns: [
    // These need containers: `npm run test:compose` runs them with a configuration of their own.
    '<rootDir>/test/compose/',
    ...(isThorough || namesFiles ? [] : thoroughOnly.map((name) => `/test/${name}\\.test\\.ts$`)),
  ],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: { '^.+\\.ts$': '@swc/jest' },
  // Two cores are the common size of a CI machine; the multi-node suites start processes of their own.
  maxWorkers: 2,
  testTimeout: 60_000,
}
