import { gradients, valueAndGrads } from '../../core/src/autograd/gradients.ts';
import { useTape } from './gradients.ts';

useTape({ gradients, valueAndGrads });
