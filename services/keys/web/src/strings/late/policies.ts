import { policies } from "../en/policies";
import { addWords } from "../i18n";

addWords({ policies });
