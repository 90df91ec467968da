import common from '../../jest.config.js'

/** For `npm run test:compose`: the tests share the containers, so they run one after another. */
export default {
  ...common,
  rootDir: '../..',
  testMatch: ['<rootDir>/test/compose/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  reporters: ['default', '<rootDir>/dist/tools/compose/failure-reporter.js'],
  verbose: true,
  maxWorkers: 1,
  testTimeout: 300_000,
}
