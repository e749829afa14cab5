/** MobileNetV2 without its head, for pictures of any size: what the page trains. */
import { mobilenetV2 } from '@leantune/assets';
import type { io } from '@tensorflow/tfjs-core';

/** The pretrained layers and weights as tfjs saves them, with inputs [n, any, any, 3]. */
export async function backboneArtifacts(): Promise<io.ModelArtifacts> {
  const model = await mobilenetV2({ size: null });
  let artifacts: io.ModelArtifacts | undefined;
  const save = async (saved: io.ModelArtifacts): Promise<io.SaveResult> => {
    artifacts = saved;
    return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
  };
  await model.save({ save });
  model.dispose();
  return artifacts!;
}
