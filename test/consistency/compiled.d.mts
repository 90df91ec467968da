export const root: string
export function compileExplorer(folder: string): void
export function copyExplorer(from: string, to: string): void
export function compile(folder: string, file: string, change?: (source: string) => string): void
export function compileWithout(
  folder: string,
  guard: { readonly file: string; readonly snippet: string; readonly without: string },
): void
