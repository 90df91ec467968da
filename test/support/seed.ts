/** Randomised tests print the seed that they ran with; `SEED=… npm test` runs them again in the same way. */
export const seed = process.env.SEED ? Number(process.env.SEED) : Math.floor(Math.random() * 0x7fff_ffff)

process.stdout.write(`SEED=${seed}\n`)
