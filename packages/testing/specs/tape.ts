import { gradients, valueAndGrads } from '../../core/src/gradients.ts';
import { useTape } from './gradients.ts';

useTape({ gradients, valueAndGrads });
