import type * as tf from '@tensorflow/tfjs-core';

export interface MemoryFile extends tf.io.IOHandler {
  /** What was saved last. */
  artifacts?: tf.io.ModelArtifacts;
  save(artifacts: tf.io.ModelArtifacts): Promise<tf.io.SaveResult>;
  load(): Promise<tf.io.ModelArtifacts>;
}

/** A file in memory: the bytes are copied, and all else goes through JSON, as on a disk. */
export function memoryFile(): MemoryFile {
  const copy = ({ weightData, ...rest }: tf.io.ModelArtifacts): tf.io.ModelArtifacts => ({
    ...JSON.parse(JSON.stringify(rest)),
    weightData: structuredClone(weightData),
  });
  const file: MemoryFile = {
    async save(artifacts) {
      file.artifacts = copy(artifacts);
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    },
    async load() {
      if (!file.artifacts) throw new Error('nothing was saved');
      return copy(file.artifacts);
    },
  };
  return file;
}
