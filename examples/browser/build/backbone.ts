/** MobileNetV2 without its head, for pictures of any size: what the page trains. */
import { mobilenetV2 } from '@leantune/assets';
import type { io } from '@tensorflow/tfjs-core';

type Json = any;

/** The pretrained layers and weights as tfjs saves them, with inputs [n, any, any, 3]. */
export async function backboneArtifacts(): Promise<io.ModelArtifacts> {
  const model = await mobilenetV2();
  let artifacts: io.ModelArtifacts | undefined;
  const save = async (saved: io.ModelArtifacts): Promise<io.SaveResult> => {
    artifacts = saved;
    return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
  };
  await model.save({ save });
  model.dispose();
  openInputs(artifacts!.modelTopology);
  return artifacts!;
}

/** Its layers are convolutions and a mean over all positions, which take the size that comes. */
function openInputs(value: Json): void {
  if (value === null || typeof value !== 'object') return;
  if (value.batch_input_shape?.length === 4) value.batch_input_shape = [null, null, null, 3];
  Object.values(value).forEach(openInputs);
}
