import { receipt } from "../en/receipt";
import { addWords } from "../i18n";

addWords({ receipt });
