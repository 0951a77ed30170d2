import { preview } from "../en/preview";
import { addWords } from "../i18n";

addWords({ preview });
