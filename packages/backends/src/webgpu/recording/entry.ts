/** A thread an element: how most shaders here begin. */
const LANES = 64;

/** The head of a shader whose threads are numbered `i`, below `u.threads`. */
export const entry: string = `@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * ${LANES} + local;
  if (i >= u.threads) { return; }`;

export const groupsFor = (threads: number): number => Math.ceil(threads / LANES);
