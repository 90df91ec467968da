/** Whether this is part of `npm run test:all`, which may take its time. `npm test` is run all day. */
export const isThorough = process.env.TEST_DEPTH === 'full'
