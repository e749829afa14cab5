/** Licence expressions of SPDX: names joined by AND, OR and brackets. https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/ */

/** Whether a user can meet the whole expression with licences of `allowed` alone. */
export function satisfies(expression: string, allowed: readonly string[]): boolean {
  const tokens = expression.match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const factor = (): boolean => {
    const token = tokens[at++];
    if (token !== '(') return token !== undefined && allowed.includes(token);
    const inside = either();
    return tokens[at++] === ')' && inside;
  };
  const all = (): boolean => {
    let holds = factor();
    while (tokens[at] === 'AND') {
      at++;
      holds = factor() && holds;
    }
    return holds;
  };
  const either = (): boolean => {
    let holds = all();
    while (tokens[at] === 'OR') {
      at++;
      holds = all() || holds;
    }
    return holds;
  };
  return either() && at === tokens.length;
}
